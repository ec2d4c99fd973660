//! Which crate may use which, where abi_stable may appear, and what must stay free of libtorch and
//! of what draws pictures.

use std::collections::BTreeMap;

use super::finding::Finding;
use super::metadata::{Dependency, Links, Member};

/// A crate, or all crates of a folder, and what they may use.
struct Floor {
    /// The crate's folder; with `/*` at its end it means all crates below.
    folder: &'static str,
    /// What the crate is for.
    says: &'static str,
    /// The folders of those of our crates that it may use.
    uses: &'static [&'static str],
    /// What its tests may use besides.
    tests: &'static [&'static str],
    /// Whether it may link libtorch.
    torch: bool,
    /// Whether it may link what draws pictures.
    pictures: bool,
}

const fn floor(folder: &'static str, says: &'static str, uses: &'static [&'static str]) -> Floor {
    Floor {
        folder,
        says,
        uses,
        tests: &[],
        torch: false,
        pictures: false,
    }
}

impl Floor {
    const fn tests(mut self, tests: &'static [&'static str]) -> Self {
        self.tests = tests;
        self
    }

    const fn with_torch(mut self) -> Self {
        self.torch = true;
        self
    }

    const fn with_pictures(mut self) -> Self {
        self.pictures = true;
        self
    }
}

const ABI: &str = "harness/abi";
const SDK: &str = "harness/sdk";
const CORE: &str = "harness/core";
const WEIGHTS: &str = "harness/weights";
const CONTRACT: &str = "harness/contract";
const STORE: &str = "harness/store";
const PLAN: &str = "harness/plan";
const PRESENT: &str = "harness/present";
const BENCHES: &str = "harness/benches";
const SUPERVISE: &str = "harness/supervise";
const ENGINE: &str = "harness/engine";
const STAGES: &str = "harness/stages";
const TRAINING: &str = "harness/training";
const CONFORMANCE: &str = "harness/conformance";
const WORKER: &str = "harness/worker";
const CLI: &str = "harness/cli";
const KERNELS: &str = "kernels";
const EMULATION: &str = "kernels/emulation";
const DATA: &str = "benchmarks/data";
const SHARED: &str = "plugins/shared/*";
const PLUGINS: &str = "plugins/*";
/// What nothing else may use; it may use everything.
const EVERYTHING: &[&str] = &[
    ABI,
    SDK,
    CORE,
    WEIGHTS,
    CONTRACT,
    STORE,
    PLAN,
    PRESENT,
    BENCHES,
    SUPERVISE,
    ENGINE,
    STAGES,
    TRAINING,
    CONFORMANCE,
    WORKER,
    CLI,
    KERNELS,
    DATA,
    SHARED,
    PLUGINS,
];

/// The crates from the ground up; of two rows that fit the first counts. A plugin of ours uses what
/// a third party's can use, kernels and the reading of weight files aside.
#[rustfmt::skip]
const FLOORS: &[Floor] = &[
    floor(ABI, "the stable boundary between host and plugins", &[]),
    floor(SDK, "what a plugin's author writes against", &[ABI])
        .tests(&[CORE, DATA, SHARED]).with_torch(),
    floor(CORE, "pure mathematics", &[]),
    floor(WEIGHTS, "weight files, read without the tensor library", &[]),
    floor(KERNELS, "fused operations on tensors", &[])
        .tests(&[CORE, DATA, EMULATION]).with_torch(),
    floor(EMULATION, "the kernels' CUDA sources on a CPU, for the kernels' tests", &[]),
    floor(DATA, "the generator of texts", &[]),
    floor(SHARED, "what several plugins share", &[SDK, KERNELS, WEIGHTS, SHARED])
        .tests(&[CORE, DATA]).with_torch(),
    floor(PLUGINS, "a plugin", &[SDK, KERNELS, WEIGHTS, SHARED])
        .tests(&[CORE, DATA]).with_torch(),
    // Host and worker look at a folder alike because both do it here, with the reader of plugins.
    floor(CONTRACT, "what host and worker share", &[CORE, WEIGHTS]).tests(&[DATA]),
    floor(STORE, "results on disk", &[CONTRACT, CORE]).tests(&[DATA]),
    floor(PLAN, "from bench files to cells", &[STORE, CONTRACT, CORE, WEIGHTS])
        .tests(&[DATA, SHARED]),
    floor(PRESENT, "tables, figures and pages, whatever they show", &[CONTRACT, CORE])
        .with_pictures(),
    floor(BENCHES, "what each kind of bench is", &[PLAN, PRESENT, STORE, CONTRACT, CORE])
        .tests(&[DATA, SHARED, WEIGHTS]).with_pictures(),
    floor(SUPERVISE, "worker processes: started, watched, replaced", &[STORE, CONTRACT, CORE]),
    floor(ENGINE, "what cells and jobs are run with",
        &[ABI, CORE, WEIGHTS, CONTRACT, STORE, KERNELS, DATA]).with_torch(),
    floor(STAGES, "runs cells, each as its stage has it",
        &[ENGINE, ABI, CORE, CONTRACT, STORE, KERNELS, DATA]).with_torch(),
    floor(TRAINING, "trains SAEs", &[ENGINE, ABI, CORE, WEIGHTS, CONTRACT, STORE, KERNELS, DATA])
        .with_torch(),
    floor(CONFORMANCE, "checks plugins and compares with parity fixtures",
        &[ENGINE, TRAINING, ABI, CORE, WEIGHTS, CONTRACT, STORE, KERNELS, DATA]).with_torch(),
    floor(WORKER, "the process that runs cells",
        &[ENGINE, STAGES, TRAINING, CONFORMANCE, CONTRACT, STORE, CORE]).tests(&[DATA]).with_torch(),
    floor(CLI, "the program that people call",
        &[BENCHES, PRESENT, PLAN, SUPERVISE, STORE, CONTRACT, WEIGHTS, CORE, DATA]).with_pictures(),
    floor("harness/xtask", "builds, tests and checks, before there is a libtorch", &[]),
    floor("benchmarks/zoo", "makes the embedded models", EVERYTHING).with_torch().with_pictures(),
    floor("benchmarks/perf", "timings", EVERYTHING).with_torch().with_pictures(),
    floor("tests", "the product from outside", EVERYTHING).with_torch().with_pictures(),
    floor("tests/fuzz", "readers of files from outside as targets for a fuzzer", EVERYTHING)
        .with_torch().with_pictures(),
];

/// What is not as the floors say yet, as a crate's folder and the package that it uses or links.
/// The list only shrinks: an entry that is not needed any more is a finding.
const NOT_YET: &[(&str, &str)] = &[
    // Their tests alone, which link none: they read folders of SAEs as the Top-K plugin does, and
    // the SDK has views of tensors as an option. The floor of `harness/cli` holds both crates.
    (PLAN, "tch"),
    (BENCHES, "tch"),
];

const ABI_STABLE_IN: [&str; 3] = [ABI, SDK, ENGINE];
const TORCH: &[&str] = &["tch", "torch-sys"];
const PICTURES: &[&str] = &["plotters", "resvg"];

fn floor_of(folder: &str) -> Option<&'static Floor> {
    FLOORS.iter().find(|floor| fits(floor.folder, folder))
}

fn fits(pattern: &str, folder: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(above) => folder.starts_with(above),
        None => folder == pattern,
    }
}

/// Checks every member against the floors. `links` says what each package links.
pub fn check(members: &[Member], links: &Links) -> Vec<Finding> {
    check_but(members, links, NOT_YET)
}

fn check_but(members: &[Member], links: &Links, not_yet: &[(&str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut needed = Vec::new();
    for member in members {
        let Some(floor) = floor_of(&member.folder) else {
            findings.push(finding(
                member,
                format!("{} lies where no crate is expected", member.name),
                "move it below one of the folders of the layout, or give the folder a floor in harness/xtask/src/tidy/floors.rs".to_owned(),
            ));
            continue;
        };
        for (package, finding) in breaches(floor, member, members, links) {
            match not_yet
                .iter()
                .find(|entry| **entry == (member.folder.as_str(), package))
            {
                Some(entry) => needed.push(entry),
                None => findings.push(finding),
            }
        }
    }
    let is_member = |folder: &str| members.iter().any(|member| member.folder == folder);
    for entry in not_yet
        .iter()
        .filter(|entry| !needed.contains(entry) && is_member(entry.0))
    {
        findings.push(Finding {
            place: format!("{}/Cargo.toml", entry.0),
            what: format!("{} is not used any more", entry.1),
            cure: "take it from NOT_YET in harness/xtask/src/tidy/floors.rs".to_owned(),
        });
    }
    findings
}

/// What a member uses or links against its floor, with the package's name.
fn breaches<'m>(
    floor: &Floor,
    member: &'m Member,
    members: &[Member],
    links: &'m Links,
) -> Vec<(&'m str, Finding)> {
    let mut found = Vec::new();
    for dependency in &member.dependencies {
        let name = dependency.name.as_str();
        let used = members
            .iter()
            .find(|m| m.name == *name && m.name != member.name);
        if used.is_some_and(|used| !may_use(floor, &used.folder, dependency.dev)) {
            let how = if dependency.dev {
                "depends, in its tests, on"
            } else {
                "depends on"
            };
            let what = format!("{} ({}) {how} {name}", member.name, floor.says);
            found.push((name, finding(member, what, uses(floor, members))));
        }
        if name == "abi_stable" && !ABI_STABLE_IN.contains(&member.folder.as_str()) {
            let cure = "use the types of harness-sdk; abi_stable stays in abi, sdk and the engine's loader so that it can be replaced";
            let what = format!("{} depends on abi_stable", member.name);
            found.push((name, finding(member, what, cure.to_owned())));
        }
    }
    for (allowed, packages, what, cure) in [
        (
            floor.torch,
            TORCH,
            "libtorch",
            "move what needs tensors to engine, kernels or a plugin",
        ),
        (
            floor.pictures,
            PICTURES,
            "what draws pictures",
            "move what draws to present or benches",
        ),
    ] {
        let chain = (!allowed)
            .then(|| chain_to(packages, &member.name, links, true))
            .flatten();
        if let Some(chain) = chain
            && let Some(last) = chain.last().copied()
        {
            let what = format!("{} reaches {what}: {}", member.name, chain.join(" -> "));
            found.push((last, finding(member, what, cure.to_owned())));
        }
    }
    found
}

fn finding(member: &Member, what: String, cure: String) -> Finding {
    Finding {
        place: format!("{}/Cargo.toml", member.folder),
        what,
        cure,
    }
}

fn may_use(floor: &Floor, used: &str, in_tests: bool) -> bool {
    // The pattern of all plugins also fits those that others share, which have a row of their own.
    let Some(used) = floor_of(used) else {
        return false;
    };
    floor.uses.contains(&used.folder) || (in_tests && floor.tests.contains(&used.folder))
}

fn uses(floor: &Floor, members: &[Member]) -> String {
    let allowed: Vec<&str> = (members.iter())
        .filter(|member| may_use(floor, &member.folder, false))
        .map(|member| member.name.as_str())
        .collect();
    match allowed.as_slice() {
        [] => "it may use none of our crates; move the code to the crate that uses both".to_owned(),
        some => format!(
            "of our crates it may use {}; move the code to the crate that uses both",
            some.join(", ")
        ),
    }
}

/// The way from a package to one of some others, if there is one.
fn chain_to<'l>(
    packages: &[&str],
    from: &'l str,
    links: &'l Links,
    with_tests: bool,
) -> Option<Vec<&'l str>> {
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        let linked = |d: &&Dependency| !d.dev || (with_tests && name == from);
        for next in links.get(name).into_iter().flatten().filter(linked) {
            let next = next.name.as_str();
            if next == from || before.contains_key(next) {
                continue;
            }
            before.insert(next, name);
            if packages.contains(&next) {
                let mut chain = vec![next];
                while let Some(name) = chain.last().and_then(|last| before.get(last)) {
                    chain.push(name);
                }
                chain.reverse();
                return Some(chain);
            }
            open.push(next);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

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
            "harness-weights harness/weights serde_json",
            "harness-contract harness/contract harness-core",
            "harness-store harness/store harness-contract harness-core",
            "harness-plan harness/plan harness-store harness-contract harness-core (sae-folder)",
            "harness-present harness/present harness-contract plotters",
            "harness-benches harness/benches harness-plan harness-present",
            "harness-supervise harness/supervise harness-contract",
            "sae-folder plugins/shared/sae_folder serde_json",
            "harness-kernels kernels tch (harness-kernels-emulation)",
            "harness-kernels-emulation kernels/emulation cc",
            "harness-data benchmarks/data serde",
            "harness-engine harness/engine harness-abi harness-store harness-kernels tch abi_stable",
            "harness-worker harness/worker harness-engine harness-contract",
            "harness harness/cli harness-benches harness-supervise harness-data resvg",
            "decoder plugins/shared/decoder tch",
            "plugin-dream plugins/models/dream harness-sdk decoder tch (harness-core)",
            "harness-tests tests (harness-plan)",
            "xtask harness/xtask anyhow",
        ]
        .map(member)
        .to_vec()
    }

    fn findings(members: &[Member], not_yet: &[(&str, &str)]) -> Vec<String> {
        let mut links: Links = (members.iter())
            .map(|member| (member.name.clone(), member.dependencies.clone()))
            .collect();
        // A crate of somebody else's that draws.
        links.insert("charts".to_owned(), member("a b plotters").dependencies);
        (check_but(members, &links, not_yet).into_iter())
            .map(|f| format!("{}: {}", f.place, f.what))
            .collect()
    }

    fn findings_with(line: &str) -> Vec<String> {
        let changed = member(line);
        let mut members = sound();
        members.retain(|m| m.name != changed.name);
        members.push(changed);
        findings(&members, &[])
    }

    #[test]
    fn the_layout_as_designed_has_no_findings() {
        assert_eq!(findings(&sound(), &[]), [""; 0]);
    }

    #[test]
    fn a_use_of_what_lies_above_is_named() {
        for (line, what) in [
            (
                "plugin-dream plugins/models/dream harness-engine",
                "plugin-dream (a plugin) depends on harness-engine",
            ),
            (
                "harness-core harness/core harness-abi",
                "harness-core (pure mathematics) depends on harness-abi",
            ),
            (
                "harness-contract harness/contract harness-store",
                "harness-contract (what host and worker share) depends on harness-store",
            ),
            (
                "harness-store harness/store harness-plan",
                "harness-store (results on disk) depends on harness-plan",
            ),
            (
                "harness-present harness/present harness-benches",
                "harness-present (tables, figures and pages, whatever they show) depends on harness-benches",
            ),
            (
                "harness-engine harness/engine harness-plan tch",
                "harness-engine (what cells and jobs are run with) depends on harness-plan",
            ),
            (
                "harness-engine harness/engine (plugin-dream)",
                "harness-engine (what cells and jobs are run with) depends, in its tests, on plugin-dream",
            ),
            (
                "harness-kernels kernels harness-kernels-emulation",
                "harness-kernels (fused operations on tensors) depends on harness-kernels-emulation",
            ),
            (
                "harness harness/cli harness-engine",
                "harness (the program that people call) depends on harness-engine",
            ),
        ] {
            let folder = line.split_whitespace().nth(1).unwrap();
            let expected = format!("{folder}/Cargo.toml: {what}");
            let found = findings_with(line);
            assert!(found.contains(&expected), "{line}: {found:?}");
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
    fn libtorch_is_found_through_other_crates() {
        for (line, chain) in [
            (
                "harness-data benchmarks/data tch",
                "harness -> harness-data -> tch",
            ),
            (
                "harness-plan harness/plan decoder",
                "harness-plan -> decoder -> tch",
            ),
            ("xtask harness/xtask (tch)", "xtask -> tch"),
        ] {
            let found = findings_with(line);
            assert!(found.iter().any(|f| f.contains(chain)), "{line}: {found:?}");
        }
    }

    #[test]
    fn nothing_below_present_draws() {
        for (line, chain) in [
            (
                "harness-store harness/store charts",
                "harness-store -> charts -> plotters",
            ),
            (
                "harness-contract harness/contract resvg",
                "harness-contract -> resvg",
            ),
            (
                "harness-worker harness/worker harness-present",
                "harness-present -> plotters",
            ),
        ] {
            let found = findings_with(line);
            assert!(found.iter().any(|f| f.contains(chain)), "{line}: {found:?}");
        }
    }

    #[test]
    fn what_is_not_as_the_floors_say_yet_is_listed_and_the_list_shrinks() {
        let entry: (&str, &str) = ("harness/core", "harness-abi");
        let mut members = sound();
        assert_eq!(
            findings(&members, &[entry]),
            ["harness/core/Cargo.toml: harness-abi is not used any more"]
        );
        members.retain(|m| m.name != "harness-core");
        members.push(member("harness-core harness/core harness-abi"));
        assert_eq!(findings(&members, &[entry]), [""; 0]);
    }

    #[test]
    fn a_crate_in_an_unknown_folder_is_named() {
        let found = findings_with("stray harness/stray serde");
        assert!(
            found.iter().any(|f| f.contains("no crate is expected")),
            "{found:?}"
        );
    }
}
