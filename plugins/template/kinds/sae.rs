//! An SAE architecture: Top-K over weights in one JSON file, without torch.
//!
//! With torch, depend on harness-sdk with `features = ["tch"]`, use `View::tensor` and
//! `ViewMut::write`, and name the version of libtorch in plugin.toml and in `export_plugin!`.

use std::path::Path;

use harness_sdk::{
    Device, Error, ErrorCode, Result, Sae, SaeArchitecture, SaeInfo, Value, View, ViewMut,
};

/// Name of the file and of the layout.
const FILE: &str = "template_sae.json";

struct Architecture;

impl SaeArchitecture for Architecture {
    fn new(_name: &str, config: &Value) -> Result<Self> {
        if config.as_object().is_none_or(|keys| !keys.is_empty()) {
            return Err(Error::config(format!(
                "this architecture takes no settings, not {config}"
            )));
        }
        Ok(Self)
    }

    fn detect(&self, path: &Path) -> Result<Option<String>> {
        Ok(path.join(FILE).is_file().then(|| "template".to_owned()))
    }

    fn load(&self, path: &Path, device: Device, _allow_nan: bool) -> Result<Box<dyn Sae>> {
        if device != Device::CPU {
            return Err(Error::unsupported(format!("an SAE on {device:?}")));
        }
        let text = std::fs::read_to_string(path.join(FILE))
            .map_err(|error| Error::new(ErrorCode::INPUT, error.to_string()))?;
        let file: Value = serde_json::from_str(&text)
            .map_err(|error| Error::new(ErrorCode::INPUT, error.to_string()))?;
        Ok(Box::new(
            TopK {
                k: usize::try_from(file["k"].as_u64().unwrap_or(0))?,
                w_enc: matrix(&file, "w_enc")?,
                w_dec: matrix(&file, "w_dec")?,
            }
            .checked()?,
        ))
    }
}

/// Weights by latent: `w_enc: [d_sae, d_model]`, `w_dec: [d_sae, d_model]`; no biases.
struct TopK {
    k: usize,
    w_enc: Vec<Vec<f32>>,
    w_dec: Vec<Vec<f32>>,
}

impl TopK {
    fn checked(self) -> Result<Self> {
        let (d_sae, d_model) = (self.w_enc.len(), self.w_enc.first().map_or(0, Vec::len));
        let fits = |w: &[Vec<f32>]| w.len() == d_sae && w.iter().all(|row| row.len() == d_model);
        if d_model == 0 || self.k == 0 || self.k > d_sae || !fits(&self.w_enc) || !fits(&self.w_dec)
        {
            return Err(Error::input(format!(
                "k {}, d_sae {d_sae} and d_model {d_model} do not fit together",
                self.k
            )));
        }
        Ok(self)
    }

    fn d_model(&self) -> usize {
        self.w_enc[0].len()
    }

    /// `ReLU(p)` of one latent for one row `x: [d_model]`.
    fn act(&self, x: &[f32], latent: usize) -> f32 {
        let p: f64 = x
            .iter()
            .zip(&self.w_enc[latent])
            .map(|(x, w)| f64::from(*x) * f64::from(*w))
            .sum();
        (p as f32).max(0.0)
    }

    fn latent(&self, raw: i64) -> Result<usize> {
        usize::try_from(raw)
            .ok()
            .filter(|&latent| latent < self.w_dec.len())
            .ok_or_else(|| {
                Error::invalid(format!(
                    "latent {raw} out of range: the SAE has {} latents",
                    self.w_dec.len()
                ))
            })
    }

    fn rows<'a>(&self, x: &View<'a>) -> Result<&'a [f32]> {
        if x.shape()[1] != self.d_model() as i64 {
            return Err(Error::invalid(format!(
                "the input has width {}, the SAE {}",
                x.shape()[1],
                self.d_model()
            )));
        }
        x.f32()
    }
}

impl Sae for TopK {
    fn info(&self) -> SaeInfo {
        SaeInfo {
            d_model: self.d_model(),
            d_sae: self.w_enc.len(),
            k: self.k,
            max_active: self.k,
            layer: None,
            format: "template".to_owned(),
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
        let width = usize::try_from(acts.shape()[1])?;
        if width < self.k {
            return Err(Error::invalid(format!(
                "{width} slots for {} latents",
                self.k
            )));
        }
        for (row, x) in self.rows(&x)?.chunks_exact(self.d_model()).enumerate() {
            let mut active: Vec<(f32, usize)> = (0..self.w_enc.len())
                .map(|latent| (self.act(x, latent), latent))
                .filter(|(act, _)| *act > 0.0)
                .collect();
            active.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            active.truncate(self.k);
            n_active.i64()?[row] = active.len() as i64;
            for slot in 0..width {
                // Unused slots hold act 0 and latent -1.
                let (act, latent) = active.get(slot).map_or((0.0, -1), |&(a, l)| (a, l as i64));
                acts.f32()?[row * width + slot] = act;
                latents.i64()?[row * width + slot] = latent;
            }
        }
        Ok(())
    }

    fn decode(&self, acts: View<'_>, latents: View<'_>, x_hat: &mut ViewMut<'_>) -> Result<()> {
        let width = usize::try_from(acts.shape()[1])?;
        let (acts, latents, d) = (acts.f32()?, latents.i64()?, self.d_model());
        let out = x_hat.f32()?;
        out.fill(0.0);
        for (i, (&act, &latent)) in acts.iter().zip(latents).enumerate() {
            if latent < 0 {
                continue;
            }
            let row = i / width;
            let decoder = &self.w_dec[self.latent(latent)?];
            for (out, w) in out[row * d..(row + 1) * d].iter_mut().zip(decoder) {
                *out += act * w;
            }
        }
        Ok(())
    }

    fn latent_acts(&self, x: View<'_>, latents: View<'_>, acts: &mut ViewMut<'_>) -> Result<()> {
        let latents = latents.i64()?;
        let rows = self.rows(&x)?.chunks_exact(self.d_model());
        for (row, x) in rows.enumerate() {
            for (column, &latent) in latents.iter().enumerate() {
                acts.f32()?[row * latents.len() + column] = self.act(x, self.latent(latent)?);
            }
        }
        Ok(())
    }

    fn decoder_rows(&self, latents: View<'_>, rows: &mut ViewMut<'_>) -> Result<()> {
        let d = self.d_model();
        for (i, &latent) in latents.i64()?.iter().enumerate() {
            let decoder = &self.w_dec[self.latent(latent)?];
            rows.f32()?[i * d..(i + 1) * d].copy_from_slice(decoder);
        }
        Ok(())
    }
}

fn matrix(file: &Value, key: &str) -> Result<Vec<Vec<f32>>> {
    serde_json::from_value(file[key].clone())
        .map_err(|error| Error::new(ErrorCode::INPUT, format!("`{key}`: {error}")))
}

harness_sdk::export_plugin! {
    id: "template",
    components: [ sae "template" => Architecture: "Top-K from one JSON file" ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_latents_are_kept() {
        let sae = TopK {
            k: 2,
            w_enc: vec![vec![1.0, 0.0], vec![0.0, 1.0], vec![-1.0, 0.5]],
            w_dec: vec![vec![1.0, 0.0], vec![0.0, 1.0], vec![0.5, 0.5]],
        };
        let (mut acts, mut latents, mut n_active) = ([0.0; 2], [0; 2], [0; 1]);
        sae.encode(
            View::of_f32(&[2.0, 3.0], &[1, 2]).unwrap(),
            &mut ViewMut::of_f32(&mut acts, &[1, 2]).unwrap(),
            &mut ViewMut::of_i64(&mut latents, &[1, 2]).unwrap(),
            &mut ViewMut::of_i64(&mut n_active, &[1]).unwrap(),
        )
        .unwrap();
        assert_eq!((acts, latents, n_active), ([3.0, 2.0], [1, 0], [2]));
        let mut x_hat = [0.0; 2];
        sae.decode(
            View::of_f32(&acts, &[1, 2]).unwrap(),
            View::of_i64(&latents, &[1, 2]).unwrap(),
            &mut ViewMut::of_f32(&mut x_hat, &[1, 2]).unwrap(),
        )
        .unwrap();
        assert_eq!(x_hat, [2.0, 3.0]);
    }
}
