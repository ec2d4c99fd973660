//! Every input that was kept, and every seed, goes through its target in each run of the tests,
//! without a fuzzer.

use std::{fs, path::Path};

use harness_fuzz::TARGETS;

#[test]
fn every_kept_input_and_seed_is_taken() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in &TARGETS {
        let mut inputs = (target.seeds)();
        let kept = fs::read_dir(corpus.join(target.name)).unwrap_or_else(|error| {
            panic!("{}: the kept inputs cannot be read: {error}", target.name)
        });
        inputs.extend(kept.map(|entry| fs::read(entry.unwrap().path()).unwrap()));
        assert!(inputs.len() > (target.seeds)().len(), "{}", target.name);
        for input in inputs {
            (target.run)(&input);
        }
    }
}

#[test]
fn kept_inputs_are_of_known_targets_and_small() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut total = 0;
    for folder in fs::read_dir(corpus).unwrap() {
        let folder = folder.unwrap();
        let name = folder.file_name().into_string().unwrap();
        let target = TARGETS.iter().find(|target| target.name == name);
        let target = target.unwrap_or_else(|| panic!("there is no target {name}"));
        for file in fs::read_dir(folder.path()).unwrap() {
            let bytes = file.unwrap().metadata().unwrap().len();
            assert!(bytes <= target.max_len as u64, "{name}");
            total += bytes;
        }
    }
    assert!(total < 1 << 20, "{total} bytes");
}
