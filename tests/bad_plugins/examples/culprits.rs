//! SAE architectures that work, but for one SAE, that of [`LAYER`] and [`K`]; and decoding orders
//! that never do. What each does is its name.

use std::{path::Path, process, thread, time::Duration};

use harness_sdk::{
    Device, Error, RemaskNeeds, Remasker, Result, Sae, SaeArchitecture, SaeInfo, Step, Value, View,
    ViewMut,
};

/// Block of the culprit.
const LAYER: u64 = 5;
/// Active budget of the culprit.
const K: usize = 8;
/// What a leak comes to when nobody ends it.
const LEAK_BYTES: usize = 20 << 30;
/// What it grows by.
const CHUNK_BYTES: usize = 64 << 20;

/// What takes the whole process with it, or holds it up.
fn misbehave(how: &str) -> Result<()> {
    match how {
        "segfaults" => {
            let nowhere = std::hint::black_box(std::ptr::null_mut::<u8>());
            // SAFETY: none: this is what the host must survive.
            unsafe { nowhere.write_volatile(1) }
        }
        "aborts" => {
            eprintln!("culprits: now it aborts");
            process::abort()
        }
        "exits" => process::exit(0),
        "panics" => panic!("no encoding for you"),
        "hangs" => loop {
            thread::sleep(Duration::from_secs(1));
        },
        "leaks" => {
            for _ in 0..LEAK_BYTES / CHUNK_BYTES {
                std::hint::black_box(vec![1_u8; CHUNK_BYTES]).leak();
            }
        }
        _ => {}
    }
    Ok(())
}

struct Architecture(String);

impl SaeArchitecture for Architecture {
    fn new(name: &str, _config: &Value) -> Result<Self> {
        Ok(Self(name.to_owned()))
    }

    fn detect(&self, _path: &Path) -> Result<Option<String>> {
        Ok(None)
    }

    fn load(&self, path: &Path, _device: Device, _allow_nan: bool) -> Result<Box<dyn Sae>> {
        let text = std::fs::read_to_string(path.join("cfg.json"))
            .map_err(|error| Error::input(error.to_string()))?;
        let config: Value =
            serde_json::from_str(&text).map_err(|error| Error::input(error.to_string()))?;
        let number = |name: &str| config[name].as_u64().unwrap_or(0) as usize;
        let layer = config["metadata"]["harness"]["layer"].as_u64();
        let is_culprit = layer == Some(LAYER) && number("k") == K;
        Ok(Box::new(Largest {
            d_model: number("d_in"),
            d_sae: number("d_sae"),
            k: number("k"),
            how: is_culprit.then(|| self.0.clone()),
        }))
    }
}

/// Keeps the `k` largest numbers of a row that it has two latents for: latent `2 i` is `x[i]` where
/// it is positive, `2 i + 1` where it is negative.
struct Largest {
    d_model: usize,
    d_sae: usize,
    k: usize,
    how: Option<String>,
}

impl Sae for Largest {
    fn info(&self) -> SaeInfo {
        SaeInfo {
            d_model: self.d_model,
            d_sae: self.d_sae,
            k: self.k,
            max_active: self.k,
            layer: None,
            format: "largest".to_owned(),
            policy: String::new(),
            model: String::new(),
        }
    }

    fn encode(
        &self,
        x: View<'_>,
        acts: &mut ViewMut<'_>,
        latents: &mut ViewMut<'_>,
        n_active: &mut ViewMut<'_>,
    ) -> Result<()> {
        let how = self.how.as_deref().unwrap_or_default();
        misbehave(how)?;
        let (acts, latents, n_active) = (acts.f32()?, latents.i64()?, n_active.i64()?);
        for (row, x) in x.f32()?.chunks_exact(self.d_model).enumerate() {
            let mut order: Vec<usize> = (0..x.len().min(self.d_sae / 2)).collect();
            order.sort_by(|&a, &b| x[b].abs().total_cmp(&x[a].abs()));
            for (slot, &i) in order.iter().take(self.k).enumerate() {
                acts[row * self.k + slot] = x[i].abs();
                latents[row * self.k + slot] = 2 * i as i64 + i64::from(x[i] < 0.0);
            }
            n_active[row] = self.k as i64;
        }
        match how {
            "returns-nan" => acts[0] = f32::NAN,
            "wrong-latent" => latents[1] = self.d_sae as i64,
            "negative-count" => n_active[0] = -1,
            _ => {}
        }
        Ok(())
    }

    fn decode(&self, acts: View<'_>, latents: View<'_>, x_hat: &mut ViewMut<'_>) -> Result<()> {
        let width = usize::try_from(acts.shape()[1])?;
        let out = x_hat.f32()?;
        out.fill(0.0);
        for (i, (&act, &latent)) in acts.f32()?.iter().zip(latents.i64()?).enumerate() {
            let Ok(latent) = usize::try_from(latent) else {
                continue;
            };
            let sign = if latent % 2 == 1 { -1.0 } else { 1.0 };
            out[i / width * self.d_model + latent / 2] = sign * act;
        }
        if self.how.as_deref() == Some("decodes-infinity") {
            out[0] = f32::INFINITY;
        }
        Ok(())
    }

    fn latent_acts(&self, _x: View<'_>, _latents: View<'_>, _acts: &mut ViewMut<'_>) -> Result<()> {
        Err(Error::unsupported("it steers nothing"))
    }

    fn decoder_rows(&self, _latents: View<'_>, _rows: &mut ViewMut<'_>) -> Result<()> {
        Err(Error::unsupported("it steers nothing"))
    }
}

struct Order(String);

impl Remasker for Order {
    fn new(name: &str, _config: &Value) -> Result<Self> {
        Ok(Self(name.to_owned()))
    }

    fn needs(&self) -> RemaskNeeds {
        RemaskNeeds::NONE
    }

    fn begin(&mut self, _n_steps: usize, _batch: usize) -> Result<()> {
        Ok(())
    }

    fn select(&mut self, step: &Step<'_>, reveal: &mut [u8]) -> Result<()> {
        misbehave(self.0.trim_start_matches("order-"))?;
        reveal.copy_from_slice(step.eligible);
        Ok(())
    }
}

harness_sdk::export_plugin! {
    id: "culprits",
    components: [
        sae "behaves" => Architecture: "does nothing wrong",
        sae "segfaults" => Architecture: "reads address 0",
        sae "aborts" => Architecture: "ends its process",
        sae "exits" => Architecture: "ends its process as if all were well",
        sae "panics" => Architecture: "panics",
        sae "hangs" => Architecture: "never returns",
        sae "leaks" => Architecture: "takes 20 GB",
        sae "returns-nan" => Architecture: "has an activation that is no number",
        sae "wrong-latent" => Architecture: "has a latent too high",
        sae "negative-count" => Architecture: "has less than no latents",
        sae "decodes-infinity" => Architecture: "has a reconstruction that is infinite",
        remasker "order-segfaults" => Order: "reads address 0",
        remasker "order-hangs" => Order: "never returns",
        remasker "order-panics" => Order: "panics",
    ]
}
