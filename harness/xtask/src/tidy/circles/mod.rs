//! No circle of imports between the files of a crate: what a file needs can be read before it.
//!
//! A file names another where its code, tests apart, names an item that is defined there: through
//! `use`, by a path, or by a re-export, which is followed to the file that defines. `mod x;` and
//! `pub use x::Y` hand names on and name nothing. Methods called on a value name nothing either.

mod arrows;
mod modules;

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use super::finding::Finding;
use crate::source::{SourceFile, Sources};
use arrows::Arrows;
use modules::{File, Modules};

/// Crates that are not clean yet. The list only shrinks: a crate on it without a circle is a
/// finding.
const NOT_YET: &[&str] = &["benchmarks/perf", "plugins/sae/topk"];

/// Ties that a finding names; a large circle has hundreds.
const MOST_TIES: usize = 24;

/// Checks every crate.
///
/// # Errors
/// When a file cannot be parsed.
pub fn check(sources: &Sources) -> Result<Vec<Finding>> {
    check_but(sources, NOT_YET)
}

fn check_but(sources: &Sources, not_yet: &[&str]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (folder, files) in sources.product()? {
        let circles = of_crate(folder, &sources.library(folder)?, &files)?;
        match (not_yet.contains(&folder), circles.is_empty()) {
            (false, _) => findings.extend(circles),
            (true, false) => {}
            (true, true) => findings.push(Finding {
                place: folder.to_owned(),
                what: "has no circle of imports any more".to_owned(),
                cure: "take it from NOT_YET in harness/xtask/src/tidy/circles".to_owned(),
            }),
        }
    }
    Ok(findings)
}

fn of_crate<'s>(folder: &str, library: &str, files: &[SourceFile<'s>]) -> Result<Vec<Finding>> {
    let parse = |file: &SourceFile<'s>| -> Result<File<'s>> {
        let syntax = syn::parse2(file.code.tokens.clone())
            .with_context(|| format!("{} cannot be parsed", file.path))?;
        Ok(File {
            path: file.path,
            syntax,
        })
    };
    let files: Vec<File> = files.iter().map(parse).collect::<Result<_>>()?;
    let modules = Modules::read(folder, library, &files);
    let arrows = arrows::read(&modules, &files);
    let circles = circles(files.len(), &arrows);
    Ok(circles
        .iter()
        .map(|circle| finding(circle, &arrows, &files))
        .collect())
}

/// The groups of files each of which reaches all others of its group.
fn circles(files: usize, arrows: &Arrows) -> Vec<BTreeSet<usize>> {
    let reach: Vec<BTreeSet<usize>> = (0..files).map(|from| reached(from, arrows)).collect();
    let circle = |file: usize| -> BTreeSet<usize> {
        let back = |other: &usize| reach[*other].contains(&file);
        reach[file].iter().copied().filter(back).collect()
    };
    let groups: BTreeSet<BTreeSet<usize>> = (0..files).map(circle).collect();
    groups.into_iter().filter(|group| group.len() > 1).collect()
}

fn reached(from: usize, arrows: &Arrows) -> BTreeSet<usize> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(file) = open.pop() {
        let next = arrows
            .range((file, 0)..(file + 1, 0))
            .map(|((_, to), _)| *to);
        open.extend(next.filter(|to| seen.insert(*to)));
    }
    seen
}

fn finding(circle: &BTreeSet<usize>, arrows: &Arrows, files: &[File]) -> Finding {
    let paths: Vec<&str> = circle.iter().map(|file| files[*file].path).collect();
    let ties: Vec<String> = (arrows.iter())
        .filter(|((from, to), _)| circle.contains(from) && circle.contains(to))
        .map(|((from, to), names)| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            format!(
                "\n    {} -> {}: {}",
                files[*from].path,
                files[*to].path,
                names.join(", ")
            )
        })
        .collect();
    let left = ties.len().saturating_sub(MOST_TIES);
    let more = if left > 0 {
        format!("\n    and {left} more")
    } else {
        String::new()
    };
    Finding {
        place: paths[0].to_owned(),
        what: format!(
            "a circle of imports between {} files: {}{}{more}",
            paths.len(),
            paths.join(", "),
            ties[..ties.len() - left].concat(),
        ),
        cure: "move what both need into a file below both, or let one be told what it asks for"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The findings in a crate of these files, without what to do about them.
    fn found(files: &[(&str, &str)], not_yet: &[&str]) -> Vec<String> {
        let manifest = ("a/Cargo.toml", "[package]\nname = \"a-crate\"");
        let mut all = vec![manifest];
        all.extend(files);
        let findings = check_but(&Sources::of(&all), not_yet).unwrap();
        findings.into_iter().map(|f| f.what).collect()
    }

    #[test]
    fn files_that_name_each_other_are_a_circle() {
        let lib = ("a/src/lib.rs", "mod b; mod c; pub use b::B;");
        let below = ("a/src/c.rs", "pub struct C;");
        let above = (
            "a/src/b.rs",
            "use crate::c::C; pub struct B(C); pub fn make() {}",
        );
        assert_eq!(found(&[lib, below, above], &[]), [""; 0]);
        // The name of `b` is handed on by lib.rs, and found where it is defined.
        for back in [
            "use crate::B; pub struct C;",
            "pub struct C(super::b::B);",
            "use super::b as other; pub fn c() { other::make() } pub struct C;",
            "use super::*; pub struct C; fn f() { B; }",
            "macro_rules! m { () => { $crate::B } } pub struct C;",
            "fn f() { println!(\"{:?}\", super::b::make()) } pub struct C;",
            "#[arg(value_parser = crate::b::make)] pub struct C;",
            "pub struct C; mod inner { use super::super::b::make; }",
            "pub struct C; fn f() { a_crate::b::make() }",
        ] {
            let found = found(&[lib, above, ("a/src/c.rs", back)], &[]);
            assert_eq!(found.len(), 1, "{back}");
            assert!(found[0].contains("between 2 files: a/src/b.rs, a/src/c.rs"));
            assert!(
                found[0].contains("a/src/b.rs -> a/src/c.rs: C"),
                "{found:?}"
            );
        }
    }

    #[test]
    fn tests_declarations_and_modules_alone_tie_nothing() {
        let lib = ("a/src/lib.rs", "pub mod b; pub use b::B; pub struct A;");
        for child in [
            "pub struct B; #[cfg(test)] mod tests { use crate::A; }",
            "use crate as whole; pub struct B;",
            "pub struct B; fn f(value: X) { value.A; value.A() }",
            "/// Like [`crate::A`].\npub struct B;",
        ] {
            assert_eq!(
                found(&[lib, ("a/src/b.rs", child)], &[]),
                [""; 0],
                "{child}"
            );
        }
        // A function that is handed on has the name of a module.
        let both = [
            ("a/src/lib.rs", "mod x; mod top; mod b; pub use top::x;"),
            ("a/src/x.rs", "pub fn f() {}"),
            ("a/src/top.rs", "pub fn x() { crate::b::g() }"),
            ("a/src/b.rs", "use crate::x::{self}; pub fn g() { x::f() }"),
        ];
        assert_eq!(found(&both, &[]), [""; 0]);
        let uses = ("a/src/lib.rs", "mod b; use b::B; pub struct A(B);");
        let child = ("a/src/b/mod.rs", "pub struct B(Option<super::A>);");
        assert_eq!(found(&[uses, child], &[]).len(), 1);
    }

    #[test]
    fn the_list_of_crates_that_are_not_clean_only_shrinks() {
        let lib = ("a/src/lib.rs", "mod b; use b::B; pub struct A(B);");
        let circle = ("a/src/b.rs", "pub struct B(Option<crate::A>);");
        assert_eq!(found(&[lib, circle], &["a"]), [""; 0]);
        let clean = ("a/src/b.rs", "pub struct B;");
        assert_eq!(
            found(&[lib, clean], &["a"]),
            ["has no circle of imports any more"]
        );
    }
}
