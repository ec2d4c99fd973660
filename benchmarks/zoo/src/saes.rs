//! Trains the SAEs of the embedded models with `harness train` and writes saes/README.md.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What one model's SAEs are trained on.
struct Job {
    model: &'static str,
    layers: &'static str,
    k: &'static str,
    /// Training policies, and the set that the SAEs of each become.
    sets: &'static [(&'static str, &'static str)],
}

/// dream-sft and dream-instruct have one k and one policy: no bench needs another.
const JOBS: [Job; 6] = [
    Job {
        model: "qwen",
        layers: "1,2,4,5,6,7",
        k: "4,8",
        sets: &[("clean", "qwen")],
    },
    Job {
        model: "dream",
        layers: "1,2,4,5,6,7",
        k: "4,8",
        sets: &[("mask", "dream-mask"), ("unmask", "dream-unmask")],
    },
    Job {
        model: "dream-sft",
        layers: "1,2,4,5,6,7",
        k: "8",
        sets: &[("mask", "dream-sft-mask")],
    },
    Job {
        model: "dream-instruct",
        layers: "1,2,4,5,6,7",
        k: "8",
        sets: &[("mask", "dream-instruct-mask")],
    },
    Job {
        model: "llama",
        layers: "1,2,3,4,5,6",
        k: "4,8",
        sets: &[("clean", "llama")],
    },
    Job {
        model: "llada",
        layers: "1,2,3,4,5,6",
        k: "4,8",
        sets: &[("mask", "llada-mask"), ("unmask", "llada-unmask")],
    },
];

/// The text, and how the SAEs are trained on it. Seed 17: other text than the models were trained
/// on.
const TEXT: &str = "zoo text --split train --seed 17 --n 60000";
const TRAINING: &str = "--d-sae 208 --tokens 500000 --batch 512 --model-batch 16 \
--context-length 128 --buffer 50000 --lr 4e-3 --warmup-steps 50 --dead-after 50000 --seed 3407 \
--save-dtype bf16 --threads 1";

/// Trains the SAEs of the models below `out`, of those in `only` where it names some, and writes
/// `<out>/saes`. A training that was stopped goes on where it was.
///
/// # Errors
/// No host or plugins where `cargo xtask build` puts them; a training that fails; files that cannot
/// be written.
pub fn train(out: &Path, only: &[String]) -> Result<()> {
    let harness = Path::new("target/release/harness");
    if !harness.is_file() {
        bail!(
            "{} is not there; build it with `cargo xtask build`",
            harness.display()
        );
    }
    let scratch = out.join(".training/saes");
    fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    let text = scratch.join("text.jsonl");
    let written = Command::new(harness)
        .args(TEXT.split(' '))
        .output()
        .context("cannot write the text")?;
    if !written.status.success() {
        bail!(
            "`harness {TEXT}`: {}",
            String::from_utf8_lossy(&written.stderr)
        );
    }
    fs::write(&text, written.stdout)?;
    for job in JOBS {
        if only.is_empty() || only.iter().any(|name| name == job.model) {
            run(harness, &job, out, &scratch, &text)?;
        }
    }
    fs::remove_file(&text).with_context(|| format!("cannot remove {}", text.display()))?;
    let readme = out.join("saes/README.md");
    fs::write(&readme, report(out)?).with_context(|| format!("cannot write {}", readme.display()))
}

fn run(harness: &Path, job: &Job, out: &Path, scratch: &Path, text: &Path) -> Result<()> {
    let policies: Vec<&str> = job.sets.iter().map(|(policy, _)| *policy).collect();
    let trained = scratch.join(job.model);
    let status = Command::new(harness)
        .arg("train")
        .arg("--model")
        .arg(out.join(job.model))
        .args([
            "--policies",
            &policies.join(","),
            "--layers",
            job.layers,
            "--k",
            job.k,
        ])
        .args(TRAINING.split(' '))
        .arg("--data")
        .arg(text)
        .arg("--out")
        .arg(&trained)
        .args(["--plugins", "plugins"])
        .status()
        .context("cannot start `harness train`")?;
    if !status.success() {
        bail!("`harness train` of {} ended with {status}", job.model);
    }
    for (policy, set) in job.sets {
        largest_k_first(&trained.join(policy))?;
        let (from, to) = (trained.join(policy), out.join("saes").join(set));
        // Times of this machine, which differ from run to run.
        fs::remove_file(from.join("runtime.json"))?;
        if to.is_dir() {
            fs::remove_dir_all(&to).with_context(|| format!("cannot remove {}", to.display()))?;
        }
        fs::create_dir_all(out.join("saes"))?;
        fs::rename(&from, &to).with_context(|| format!("cannot write {}", to.display()))?;
    }
    fs::remove_dir_all(&trained).with_context(|| format!("cannot remove {}", trained.display()))
}

/// Names the SAEs of a layer anew, so that `trainer_0` is the one of the largest k: that k is in
/// every set.
fn largest_k_first(set: &Path) -> Result<()> {
    for layer in folders(set)? {
        let trainers = folders(&layer)?;
        let aside: Vec<PathBuf> = (0..trainers.len())
            .map(|i| layer.join(format!("aside_{i}")))
            .collect();
        for (from, to) in trainers.iter().zip(&aside) {
            fs::rename(from, to).with_context(|| format!("cannot rename {}", from.display()))?;
        }
        for (from, to) in aside.iter().rev().zip(&trainers) {
            fs::rename(from, to).with_context(|| format!("cannot rename {}", from.display()))?;
        }
    }
    Ok(())
}

/// The README of the sets that are there.
fn report(out: &Path) -> Result<String> {
    let on_lines = (TRAINING.replace(" --context-length", " \\\n    --context-length"))
        .replace(" --save-dtype", " \\\n    --save-dtype");
    let mut text = HEAD
        .replace("{TEXT}", TEXT)
        .replace("{TRAINING}", &on_lines);
    for job in JOBS {
        for (_, set) in job.sets {
            for config in configs(&out.join("saes").join(set))? {
                let config: Value = serde_json::from_slice(&fs::read(&config)?)
                    .with_context(|| format!("cannot parse {}", config.display()))?;
                let end = &config["metadata"]["harness"]["final"];
                let number = |key: &str| end[key].as_f64().unwrap_or(f64::NAN);
                let _ = writeln!(
                    text,
                    "| {set} | {} | {} | {:.4} | {:.4} | {:.2} | {:.0} |",
                    end["layer"],
                    end["k"],
                    number("ev"),
                    number("loss"),
                    number("l0"),
                    number("n_dead")
                );
            }
        }
    }
    Ok(text)
}

/// The cfg.json files of a set, in order; none of a set that is not there.
fn configs(set: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for layer in folders(set)? {
        for trainer in folders(&layer)? {
            found.push(trainer.join("cfg.json"));
        }
    }
    Ok(found)
}

/// The folders in a folder by name, without files; none of one that is not there.
fn folders(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    let mut all = fs::read_dir(path)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    all.retain(|path| path.is_dir());
    all.sort();
    Ok(all)
}

const HEAD: &str = "\
# SAEs of the embedded models

Top-K SAEs on block outputs, in the released layout (`<set>/resid_post_layer_{L}/trainer_{i}`,
SAELens files, bf16), 208 latents, k 8 (`trainer_0`) and 4; those of dream-sft and dream-instruct
have k 8 alone. Each is trained on 499,712 activations of the generator's `train` split; `cfg.json`
holds the provenance. `cargo xtask build && cargo xtask zoo --saes` makes them and writes this file,
in these commands for each model:

```
harness {TEXT} > text.jsonl
harness train --model benchmarks/zoo/dream --policies mask,unmask --layers 1,2,4,5,6,7 --k 4,8 \\
    {TRAINING} \\
    --data text.jsonl --plugins plugins --out DIR
```

EV (Eq. 15), loss (on activations of unit mean square), L0 and dead latents are those of training
batches, averaged over the last 100 of 976 steps; a latent is dead after 50,000 tokens without
activation. Few different residuals occur at masked positions of the first layers, so that Mask-SAEs
have dead latents there.

| set | layer | k | EV | loss | L0 | dead |
|---|---|---|---|---|---|---|
";
