//! Which crate may use which, where abi_stable may appear, and what must stay free of torch.

use std::collections::BTreeMap;

use super::Finding;
use super::metadata::Member;

/// The part a crate plays, told from its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Abi,
    Sdk,
    Core,
    Weights,
    Contract,
    Store,
    Plan,
    Present,
    Benches,
    Engine,
    Worker,
    Cli,
    Xtask,
    Kernels,
    /// The kernels' CUDA sources on a CPU, for the kernels' tests.
    Emulation,
    Data,
    SharedPlugin,
    Plugin,
    /// Benches, the zoo's maker, the integration tests, the fuzz targets: they may use everything, and nothing may use them.
    Top,
}

use Role::{
    Abi, Benches, Cli, Contract, Core, Data, Emulation, Engine, Kernels, Plan, Plugin, Present,
    Sdk, SharedPlugin, Store, Top, Weights, Worker, Xtask,
};

fn role(folder: &str) -> Option<Role> {
    Some(match folder {
        "harness/abi" => Abi,
        "harness/sdk" => Sdk,
        "harness/core" => Core,
        "harness/weights" => Weights,
        "harness/contract" => Contract,
        "harness/store" => Store,
        "harness/plan" => Plan,
        "harness/present" => Present,
        "harness/benches" => Benches,
        "harness/engine" => Engine,
        "harness/worker" => Worker,
        "harness/cli" => Cli,
        "harness/xtask" => Xtask,
        "kernels" => Kernels,
        "kernels/emulation" => Emulation,
        "benchmarks/data" => Data,
        "benchmarks/zoo" | "benchmarks/perf" | "tests" | "tests/fuzz" => Top,
        other if other.starts_with("plugins/shared/") => SharedPlugin,
        other if other.starts_with("plugins/") => Plugin,
        _ => return None,
    })
}

/// What a role may use of ours. A plugin of ours uses what a third party's can use, kernels and the
/// reading of weight files aside.
fn may_use(role: Role) -> &'static [Role] {
    match role {
        Abi | Core | Weights | Kernels | Emulation | Data | Xtask => &[],
        Sdk => &[Abi],
        // Readers of files from outside, without torch: what an SAE is must be one definition.
        Contract => &[Core, Weights],
        Store => &[Contract],
        Plan => &[Contract, Store, Core, Weights, SharedPlugin],
        Present => &[Contract, Core],
        Benches => &[Contract, Store, Plan, Present, Core],
        Engine => &[Abi, Contract, Store, Core, Weights, Kernels, Data],
        Worker => &[Engine, Contract, Core],
        Cli => &[Contract, Store, Plan, Present, Benches, Core, Weights, Data],
        SharedPlugin | Plugin => &[Sdk, Kernels, Weights, SharedPlugin],
        Top => &[
            Abi,
            Sdk,
            Core,
            Weights,
            Contract,
            Store,
            Plan,
            Present,
            Benches,
            Engine,
            Worker,
            Cli,
            Kernels,
            Data,
            SharedPlugin,
            Plugin,
        ],
    }
}

/// What a role's tests may use besides.
fn tests_may_use(role: Role) -> &'static [Role] {
    match role {
        Plugin | SharedPlugin | Sdk => &[Core, Data, Sdk, SharedPlugin],
        Engine | Worker | Contract | Store | Plan | Present | Benches => &[Core, Data],
        Kernels => &[Core, Data, Emulation],
        _ => &[],
    }
}

const ABI_STABLE_IN: [Role; 3] = [Abi, Sdk, Engine];
/// These answer in milliseconds, or are built before libtorch is there.
const WITHOUT_TORCH: [Role; 12] = [
    Abi, Core, Weights, Contract, Store, Plan, Present, Benches, Cli, Xtask, Data, Emulation,
];
const TORCH: [&str; 2] = ["tch", "torch-sys"];

/// Checks every member against the rules.
pub fn check(members: &[Member]) -> Vec<Finding> {
    let by_name: BTreeMap<&str, &Member> = members.iter().map(|m| (m.name.as_str(), m)).collect();
    let mut findings = Vec::new();
    for member in members {
        let place = format!("{}/Cargo.toml", member.folder);
        let Some(own) = role(&member.folder) else {
            findings.push(Finding {
                place,
                what: format!("{} lies where no crate is expected", member.name),
                cure: "move it below one of the folders of the layout, or give the folder a role in harness/xtask/src/tidy/layers.rs".to_owned(),
            });
            continue;
        };
        for dependency in &member.dependencies {
            let used = by_name
                .get(dependency.name.as_str())
                .and_then(|m| role(&m.folder));
            if let Some(used) = used
                && dependency.name != member.name
                && !may_use(own).contains(&used)
                && !(dependency.dev && tests_may_use(own).contains(&used))
            {
                findings.push(Finding {
                    place: place.clone(),
                    what: not_allowed(member, &dependency.name, dependency.dev),
                    cure: cure(own, members),
                });
            }
            if dependency.name == "abi_stable" && !ABI_STABLE_IN.contains(&own) {
                findings.push(Finding {
                    place: place.clone(),
                    what: format!("{} depends on abi_stable", member.name),
                    cure: "use the types of harness-sdk; abi_stable stays in abi, sdk and the engine's loader so that it can be replaced".to_owned(),
                });
            }
        }
        if WITHOUT_TORCH.contains(&own)
            && let Some(chain) = chain_to_torch(member, &by_name, true)
        {
            findings.push(Finding {
                place,
                what: format!("{} reaches libtorch: {}", member.name, chain.join(" -> ")),
                cure: "move what needs tensors to engine, kernels or a plugin".to_owned(),
            });
        }
    }
    findings
}

fn not_allowed(member: &Member, used: &str, dev: bool) -> String {
    let how = if dev {
        "depends, in its tests, on"
    } else {
        "depends on"
    };
    format!("{} {how} {used}", member.name)
}

fn cure(own: Role, members: &[Member]) -> String {
    let allowed: Vec<&str> = members
        .iter()
        .filter(|m| role(&m.folder).is_some_and(|r| may_use(own).contains(&r)))
        .map(|m| m.name.as_str())
        .collect();
    match allowed.as_slice() {
        [] => "it may use none of our crates; move the code to the crate that uses both".to_owned(),
        some => format!(
            "of our crates it may use {}; move the code to the crate that uses both",
            some.join(", ")
        ),
    }
}

/// The way from a member to torch through our crates, if there is one. Optional dependencies count: a feature may turn them on.
fn chain_to_torch(
    member: &Member,
    by_name: &BTreeMap<&str, &Member>,
    with_tests: bool,
) -> Option<Vec<String>> {
    member
        .dependencies
        .iter()
        .filter(|d| with_tests || !d.dev)
        .find_map(|dependency| {
            let mut chain = if TORCH.contains(&dependency.name.as_str()) {
                vec![dependency.name.clone()]
            } else {
                let next = by_name
                    .get(dependency.name.as_str())
                    .filter(|m| m.name != member.name)?;
                chain_to_torch(next, by_name, false)?
            };
            chain.insert(0, member.name.clone());
            Some(chain)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::metadata::Dependency;

    /// A member from `name folder dependency… (dev-dependency)…`.
    fn member(line: &str) -> Member {
        let mut words = line.split_whitespace().map(str::to_owned);
        let (name, folder) = (words.next().unwrap(), words.next().unwrap());
        let dependencies = words
            .map(|w| Dependency {
                dev: w.starts_with('('),
                name: w.trim_matches(['(', ')']).to_owned(),
            })
            .collect();
        Member {
            name,
            folder,
            dependencies,
            cdylibs: Vec::new(),
        }
    }

    fn sound() -> Vec<Member> {
        [
            "harness-abi harness/abi abi_stable",
            "harness-sdk harness/sdk harness-abi abi_stable tch",
            "harness-core harness/core serde",
            "harness-contract harness/contract harness-core",
            "harness-plan harness/plan harness-contract harness-core sae-folder",
            "sae-folder plugins/shared/sae_folder serde_json",
            "harness-kernels kernels tch (harness-kernels-emulation)",
            "harness-kernels-emulation kernels/emulation cc",
            "harness-data benchmarks/data serde",
            "harness-engine harness/engine harness-abi harness-core harness-contract harness-kernels tch abi_stable",
            "harness-worker harness/worker harness-engine harness-contract",
            "harness harness/cli harness-plan harness-core harness-data",
            "decoder plugins/shared/decoder tch",
            "plugin-dream plugins/models/dream harness-sdk decoder tch (harness-core)",
            "harness-tests tests (harness-plan)",
            "xtask harness/xtask anyhow",
        ]
        .map(member)
        .to_vec()
    }

    fn findings_with(line: &str) -> Vec<String> {
        let changed = member(line);
        let mut members: Vec<Member> = sound()
            .into_iter()
            .filter(|m| m.name != changed.name)
            .collect();
        members.push(changed);
        check(&members)
            .into_iter()
            .map(|f| format!("{}: {}", f.place, f.what))
            .collect()
    }

    #[test]
    fn the_layout_as_designed_has_no_findings() {
        assert_eq!(check(&sound()), []);
    }

    #[test]
    fn forbidden_edges_are_named() {
        for (line, what) in [
            (
                "plugin-dream plugins/models/dream harness-engine",
                "plugins/models/dream/Cargo.toml: plugin-dream depends on harness-engine",
            ),
            (
                "plugin-dream plugins/models/dream harness-plan",
                "plugins/models/dream/Cargo.toml: plugin-dream depends on harness-plan",
            ),
            (
                "harness-core harness/core harness-abi",
                "harness/core/Cargo.toml: harness-core depends on harness-abi",
            ),
            (
                "harness-abi harness/abi harness-core",
                "harness/abi/Cargo.toml: harness-abi depends on harness-core",
            ),
            (
                "harness-engine harness/engine (plugin-dream)",
                "harness/engine/Cargo.toml: harness-engine depends, in its tests, on plugin-dream",
            ),
            (
                "harness-kernels kernels harness-kernels-emulation",
                "kernels/Cargo.toml: harness-kernels depends on harness-kernels-emulation",
            ),
            (
                "harness harness/cli harness-engine",
                "harness/cli/Cargo.toml: harness depends on harness-engine",
            ),
        ] {
            assert!(
                findings_with(line).iter().any(|f| f == what),
                "{line}: {:?}",
                findings_with(line)
            );
        }
    }

    #[test]
    fn abi_stable_stays_where_it_is() {
        let found = findings_with("plugin-dream plugins/models/dream harness-sdk abi_stable");
        assert_eq!(
            found,
            ["plugins/models/dream/Cargo.toml: plugin-dream depends on abi_stable"]
        );
    }

    #[test]
    fn torch_is_found_through_other_crates() {
        let found = findings_with("harness-data benchmarks/data tch");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found
                .iter()
                .any(|f| f.contains("harness -> harness-data -> tch"))
        );
        assert!(
            findings_with("harness-plan harness/plan decoder")
                .iter()
                .any(|f| f.contains("harness-plan -> decoder -> tch"))
        );
        assert!(
            findings_with("xtask harness/xtask (tch)")
                .iter()
                .any(|f| f.contains("xtask -> tch"))
        );
    }

    #[test]
    fn a_crate_in_an_unknown_folder_is_named() {
        assert!(
            findings_with("stray harness/stray serde")
                .iter()
                .any(|f| f.contains("no crate is expected"))
        );
    }
}
