//! Files replaced by others with size and time kept, as `cp -p`, `tar` and `rsync -t` do it.

use std::{
    fs::{self, File},
    path::Path,
    thread,
    time::{Duration, SystemTime},
};

use crate::support::{copy_folder, harness, result, root, succeed, words};

/// Makes another file of it with the same size and time.
fn replace(path: &Path) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    // The top bytes of the last numbers: weights that are still numbers.
    let end = bytes.len() - 4096;
    for at in (end..bytes.len()).step_by(2) {
        bytes[at] ^= 0x40;
    }
    fs::write(path, bytes).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(time).unwrap();
}

#[test]
fn a_replaced_checkpoint_is_another_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (model, out) = (dir.path().join("model"), dir.path().join("out"));
    copy_folder(&root().join("benchmarks/zoo/qwen"), &model);
    let weights = model.join("model.safetensors");
    let old = SystemTime::now() - Duration::from_secs(5000);
    let file = File::options().write(true).open(&weights).unwrap();
    file.set_modified(old).unwrap();
    // Younger files are never remembered.
    thread::sleep(Duration::from_millis(3500));
    let text = dir.path().join("text.jsonl");
    let row = "{\"text\": \"The rain had stopped before they came to the old house.\"}\n";
    fs::write(&text, row.repeat(60)).unwrap();
    let mut losses = Vec::new();
    for _ in 0..2 {
        let mut bench = harness();
        bench.args(words("bench fidelity --plugins plugins --rows qwen"));
        bench.args(words("--layers 1 --k 8 --budget-tokens 300"));
        bench.args(words("--context-length 16 --documents truncate"));
        bench
            .arg("--model")
            .arg(format!("qwen={}", model.display()));
        bench.arg("--data").arg(&text).arg("--out").arg(&out);
        bench.env("HARNESS_CACHE", dir.path().join("cache"));
        succeed(&mut bench);
        let table = result(&out, "fidelity.csv");
        let loss = table.lines().find(|line| line.contains("clean_loss"));
        losses.push(loss.unwrap().to_owned());
        replace(&weights);
    }
    let kept = fs::read_to_string(dir.path().join("cache/hashes.json")).unwrap();
    assert!(kept.contains("model.safetensors"), "{kept}");
    assert_ne!(losses[0], losses[1]);
}
