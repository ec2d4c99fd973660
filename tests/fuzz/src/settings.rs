//! What people write: bench files and manifests of plugins.

use harness_contract::plugin::{KINDS, Manifest};
use harness_plan::bench::BenchFile;

/// A bench file is read, or all that is wrong with it is said with its place.
pub fn bench(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match BenchFile::parse("fuzz", "fuzz.toml", text, harness_benches::KINDS) {
        Ok(BenchFile::Own(spec)) => {
            assert_eq!(spec.name, "fuzz");
            let _ = (spec.kinds(), spec.models(), spec.sae_sets());
        }
        Ok(BenchFile::Same(same)) => {
            let _ = same.of(Vec::new()).unwrap_err().to_string();
        }
        Err(error) => {
            assert!(!error.problems.is_empty());
            assert!(error.to_string().contains("fuzz.toml"));
        }
    }
}

/// A manifest names no library outside its folder, and no component twice.
pub fn plugin_manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Manifest::parse(text) {
        Ok(manifest) => {
            assert!(!manifest.library.contains(['/', '\\']));
            assert!(!manifest.components.is_empty());
            let mut names: Vec<_> = (manifest.components.iter())
                .map(|component| (&component.kind, &component.name))
                .collect();
            names.sort();
            assert!(names.windows(2).all(|two| two[0] != two[1]));
            let unknown = |kind: &String| !KINDS.contains(&kind.as_str());
            let n_unknown = names.iter().filter(|(kind, _)| unknown(kind)).count();
            assert!(manifest.warnings.len() >= n_unknown);
        }
        Err(error) => {
            assert!(!error.problems.is_empty());
            assert!(!error.to_string().is_empty());
        }
    }
}

/// Inputs to begin with.
pub mod seeds {
    use crate::texts;

    pub fn bench() -> Vec<Vec<u8>> {
        texts(&[
            include_str!("../../../benchmarks/tables/table2.toml"),
            include_str!("../../../benchmarks/tables/table4.toml"),
            include_str!("../../../benchmarks/tables/fidelity.toml"),
            include_str!("../../../benchmarks/tables/decoding-order.toml"),
            include_str!("../../../benchmarks/tables/autointerp.toml"),
            include_str!("../../../benchmarks/tables/transfer-rollouts.toml"),
            include_str!("../../../benchmarks/tables/fig6.toml"),
            include_str!("../../../benchmarks/tables/table1.toml"),
        ])
    }

    pub fn plugin_manifest() -> Vec<Vec<u8>> {
        texts(&[
            include_str!("../../../plugins/models/dream/plugin.toml"),
            include_str!("../../../plugins/judge/openai/plugin.toml"),
            "id='x'\nversion='1'\nabi='1.0'\nlibrary='l.so'\n[[component]]\nkind='metrik'\nname='x'\n",
            "abi='one'\nlibrary='../evil.so'\n[[component]]\nkind='metric'\n",
        ])
    }
}
