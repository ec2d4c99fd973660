//! `cargo xtask docs`: the pages of docs/reference that are written from the program and its
//! sources, so that they cannot say anything else.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::compile::{self, Profile};
use crate::workspace::Workspace;

/// Stands at the top of every generated page.
const NOTE: &str = "<!-- Written by `cargo xtask docs`. Change the code, then run it again. -->\n";
/// The kinds of plugins, by the SDK's files that say what each implements and is given.
const KINDS: [&str; 6] = ["model", "sae", "remask", "steer", "metric", "judge"];

/// Builds the product and writes the pages; with `--check` compares them and writes nothing.
///
/// # Errors
/// When the product cannot be built or a source that a page is made of is not found.
pub fn run(ws: &Workspace, check: bool) -> Result<ExitCode> {
    compile::product(ws, Profile::Release)?;
    let mut stale = 0;
    for (name, text) in pages(ws)? {
        let place = format!("docs/reference/{name}.md");
        let path = ws.root.join(&place);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        stale += 1;
        if check {
            eprintln!("{place} is not what the code says; run `cargo xtask docs`");
        } else {
            fs::write(&path, text).with_context(|| format!("{place} cannot be written"))?;
            eprintln!("{place} is written");
        }
    }
    Ok(if check && stale > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn pages(ws: &Workspace) -> Result<Vec<(&'static str, String)>> {
    let help = |words: &[&str]| said(ws, &[words, &["--help"]].concat());
    Ok(vec![
        ("commands", commands(&help)?),
        ("settings", settings(ws)?),
        ("exit-codes", exit_codes(ws)?),
        ("plugin-interface", plugin_interface(ws)?),
        (
            "plugins",
            components(&said(ws, &["list", "plugins", "--plugins", "./plugins"])?),
        ),
    ])
}

/// What `harness` prints, without variables of the user's environment that would show in it.
fn said(ws: &Workspace, words: &[&str]) -> Result<String> {
    let mut command = ws.command(ws.target.join("release/harness"));
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("HARNESS_"))
        {
            command.env_remove(name);
        }
    }
    let output = command
        .args(words)
        .current_dir(&ws.root)
        .env_remove("COLUMNS")
        .output()
        .context("target/release/harness cannot be started")?;
    if !output.status.success() {
        bail!(
            "harness {} failed: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The help of every command and of its subcommands.
fn commands(help: &dyn Fn(&[&str]) -> Result<String>) -> Result<String> {
    let mut page = format!(
        "{NOTE}\n# Commands\n\nEvery command prints this text itself: `harness COMMAND --help`.\n"
    );
    command(help, &[], &mut page)?;
    Ok(page)
}

fn command(
    help: &dyn Fn(&[&str]) -> Result<String>,
    words: &[&str],
    page: &mut String,
) -> Result<()> {
    let text = help(words)?;
    let name = [&["harness"], words].concat().join(" ");
    // Clap ends some lines with blanks.
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    write!(
        page,
        "\n## `{name}`\n\n```text\n{}\n```\n",
        lines.join("\n").trim_end()
    )?;
    for inner in subcommands(&text) {
        command(help, &[words, &[inner]].concat(), page)?;
    }
    Ok(())
}

/// The names below `Commands:` in a help text.
fn subcommands(help: &str) -> impl Iterator<Item = &str> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
}

/// The settings of benches that have the same ones, with both budgets of the first of them.
fn settings(ws: &Workspace) -> Result<String> {
    let mut page = format!(
        "{NOTE}\n# Settings\n\n\
         A setting is written in a bench file, or given with its option, or with `--set NAME=VALUE`.\n\
         The nearest level counts: option, variant, row, profile (`[zoo]` or `[real]`), `[settings]`.\n\
         `harness config show BENCH --origin` tells the value and where it comes from.\n\n\
         \"Embedded\" is the value for the embedded models, \"paper\" the one for models that have\n\
         the paper's layers; `by row` differs from row to row, and `-` is not set. A bench whose file\n\
         says `same_as` has the settings of the benches that it names there.\n"
    );
    let mut groups: Vec<Group> = Vec::new();
    for line in said(ws, &["list", "tables"])?.lines() {
        let Some(bench) = line.split_whitespace().next() else {
            continue;
        };
        let found = Group::read(ws, bench)?;
        match groups.iter_mut().find(|group| group.names == found.names) {
            _ if found.names.is_empty() || found.file.contains_key("same_as") => {}
            Some(group) => group.benches.extend(found.benches),
            None => groups.push(found),
        }
    }
    for group in groups {
        group.write(&mut page)?;
    }
    Ok(page)
}

/// Benches with the same settings, and the values of the first of them.
struct Group {
    benches: Vec<String>,
    names: Vec<String>,
    rows: Vec<Value>,
    file: toml::Table,
}

impl Group {
    fn read(ws: &Workspace, bench: &str) -> Result<Self> {
        let shown = said(ws, &["config", "show", bench, "--format", "json"])?;
        let shown: Value = serde_json::from_str(&shown)?;
        let rows = shown["rows"].as_array().cloned().unwrap_or_default();
        let file = format!("benchmarks/tables/{bench}.toml");
        let mut seen = BTreeSet::new();
        let names = of_rows(&rows).filter_map(|setting| setting["name"].as_str());
        Ok(Self {
            benches: vec![bench.to_owned()],
            names: names
                .filter(|name| seen.insert(*name))
                .map(str::to_owned)
                .collect(),
            rows,
            file: fs::read_to_string(ws.root.join(&file))
                .with_context(|| format!("{file} cannot be read"))?
                .parse()?,
        })
    }

    fn write(&self, page: &mut String) -> Result<()> {
        let benches: Vec<String> = self
            .benches
            .iter()
            .map(|bench| format!("`{bench}`"))
            .collect();
        write!(
            page,
            "\n## {}\n\n| setting | option | values | embedded | paper | meaning |\n\
             |---|---|---|---|---|---|\n",
            benches.join(", ")
        )?;
        for name in &self.names {
            let declared = of_rows(&self.rows).find(|setting| setting["name"] == **name);
            let text = |key: &str| declared.and_then(|setting| setting[key].as_str());
            writeln!(
                page,
                "| `{name}` | {} | {} | {} | {} | {} |",
                text("option").map_or_else(String::new, |option| format!("`{option}`")),
                text("values").unwrap_or_default(),
                embedded(&self.rows, name),
                paper(&self.file, name),
                text("help").unwrap_or_default(),
            )?;
        }
        Ok(())
    }
}

/// The settings of all rows, one row after the other.
fn of_rows(rows: &[Value]) -> impl Iterator<Item = &Value> {
    rows.iter()
        .flat_map(|row| row["settings"].as_array().into_iter().flatten())
}

fn embedded(rows: &[Value], name: &str) -> String {
    let values: BTreeSet<String> = of_rows(rows)
        .filter(|setting| setting["name"] == name)
        .map(|setting| shown(&brief(&setting["value"])))
        .collect();
    match values.len() {
        1 => values.into_iter().next().unwrap_or_default(),
        _ => "by row".to_owned(),
    }
}

/// A value with parts by its name, or by the parts that are on.
fn brief(value: &Value) -> String {
    match value.as_object() {
        None => value.to_string(),
        Some(parts) => match parts.get("name") {
            Some(name) => name.to_string(),
            None => {
                let on = parts.iter().filter(|(_, part)| **part == true);
                on.map(|(name, _)| name.as_str())
                    .collect::<Vec<_>>()
                    .join(",")
            }
        },
    }
}

fn paper(file: &toml::Table, name: &str) -> String {
    let of = |level: &str| file.get(level)?.get(name).map(ToString::to_string);
    let in_rows = file.get("rows").and_then(toml::Value::as_array);
    let differs = in_rows.is_some_and(|rows| rows.iter().any(|row| row.get(name).is_some()));
    if differs {
        return "by row".to_owned();
    }
    of("real")
        .or_else(|| of("settings"))
        .map_or_else(|| "-".to_owned(), |value| shown(&value))
}

/// A JSON or TOML value without brackets and quotation marks; `-` for none.
fn shown(value: &str) -> String {
    let plain = value
        .trim_matches(['[', ']'])
        .replace('"', "")
        .replace(", ", ",");
    match plain.as_str() {
        "null" | "" => "-".to_owned(),
        // A list in a narrow column breaks at its commas.
        _ => plain.replace(',', ", "),
    }
}

fn exit_codes(ws: &Workspace) -> Result<String> {
    let source = source_with(ws, "pub const JUDGE_BUDGET: u8")?;
    let mut page = format!(
        "{NOTE}\n# Exit codes\n\nScripts may depend on them: a code never changes its meaning.\n\n\
         | code | meaning |\n|---|---|\n"
    );
    let mut codes: Vec<(u8, String)> = Vec::new();
    for (name, meaning) in documented(&source, "//!") {
        let declaration = format!("pub const {name}: u8 = ");
        let number = source
            .lines()
            .find_map(|line| {
                line.strip_prefix(&declaration)?
                    .strip_suffix(';')?
                    .parse()
                    .ok()
            })
            .with_context(|| format!("the exit code {name} has no number"))?;
        codes.push((number, meaning));
    }
    codes.sort();
    for (number, meaning) in codes {
        writeln!(page, "| {number} | {meaning} |")?;
    }
    Ok(page)
}

/// Every trait and struct of the SDK whose items are documented, kind by kind.
fn plugin_interface(ws: &Workspace) -> Result<String> {
    let mut page = format!(
        "{NOTE}\n# Plugin interface\n\nWhat the traits of `harness-sdk` ask for and what they are given. \
         Shapes, errors and types\nare in `cargo doc -p harness-sdk --open`.\n"
    );
    for kind in KINDS {
        let file = format!("harness/sdk/src/{kind}.rs");
        let source = fs::read_to_string(ws.root.join(&file))
            .with_context(|| format!("{file} cannot be read"))?;
        for (start, what) in [
            ("pub trait ", "implemented"),
            ("pub struct ", "given or returned"),
        ] {
            for line in source.lines().filter(|line| line.starts_with(start)) {
                let items = documented(&source, line);
                let name = item_name(&line[start.len()..]).unwrap_or(line);
                if !items.is_empty() {
                    write!(
                        page,
                        "\n## `{name}` ({what})\n\n| name | meaning |\n|---|---|\n"
                    )?;
                }
                for (name, meaning) in items {
                    writeln!(page, "| `{name}` | {meaning} |")?;
                }
            }
        }
        // A table within the documentation of a trait says what else a kind is given.
        let table: Vec<&str> = source
            .lines()
            .filter_map(|line| line.strip_prefix("/// |"))
            .collect();
        if !table.is_empty() {
            writeln!(page, "\n## Inputs of a {kind}\n\n|{}", table.join("\n|"))?;
        }
    }
    Ok(page)
}

/// The columns of `harness list plugins` as a table.
fn components(list: &str) -> String {
    let mut page = format!(
        "{NOTE}\n# Components that come with the harness\n\n\
         `harness list plugins --plugins ./plugins` prints this list, with your own plugins in it.\n\n\
         | kind | component | plugin | what it is |\n|---|---|---|---|\n"
    );
    for line in list.lines() {
        let columns: Vec<&str> = line
            .split("  ")
            .map(str::trim)
            .filter(|column| !column.is_empty())
            .collect();
        if let [kind, name, plugin, what] = columns[..] {
            page.push_str(&format!("| {kind} | `{name}` | {plugin} | {what} |\n"));
        }
    }
    page
}

/// The one file below harness/ that holds `text`, wherever it lies today.
fn source_with(ws: &Workspace, text: &str) -> Result<String> {
    let mut folders = vec![ws.root.join("harness")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if is_source_of_product(&path)
                && let Ok(source) = fs::read_to_string(&path)
                && source.contains(text)
            {
                return Ok(source);
            }
        }
    }
    bail!(
        "no file below harness/ holds `{}`; a page is made of it",
        text.trim()
    )
}

fn is_source_of_product(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
        && !path.components().any(|part| part.as_os_str() == "xtask")
}

/// Items with documentation from the line that begins with `start` to the next line that closes
/// it: their names and the first paragraphs of what is said of them.
fn documented(source: &str, start: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut doc: Vec<&str> = Vec::new();
    let lines = source
        .lines()
        .skip_while(|line| !line.starts_with(start))
        .skip(1);
    for line in lines.take_while(|line| *line != "}") {
        let line = line.trim_start();
        if let Some(text) = line.strip_prefix("///") {
            doc.push(text.trim());
        } else if !line.starts_with('#') {
            if !doc.is_empty()
                && let Some(name) = item_name(line)
            {
                let first: Vec<&str> = doc
                    .iter()
                    .take_while(|text| !text.is_empty())
                    .copied()
                    .collect();
                let text = first.join(" ").replace('|', "\\|");
                found.push((name.to_owned(), without_links(&text)));
            }
            doc.clear();
        }
    }
    found
}

/// The name of a field, method, constant or entry of a macro.
fn item_name(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let line = ["fn ", "const "]
        .iter()
        .find_map(|word| line.strip_prefix(word))
        .unwrap_or(line);
    let end = line.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    let follows = line[end..].chars().next();
    (end > 0 && matches!(follows, Some(':' | '(' | '<' | ' '))).then_some(&line[..end])
}

/// Rustdoc's links by name, as plain code: a page has nowhere to lead them.
fn without_links(text: &str) -> String {
    text.replace("[`", "`").replace("`]", "`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_items_are_read_with_their_first_paragraph() {
        let source = "\
struct Other {
    /// No.
    a: u8,
}
pub trait Thing: Send {
    /// Makes [`Other`],
    /// or `a | b`.
    ///
    /// # Errors
    /// Never.
    fn make(&self);
    fn bare(&self);
    /// A number.
    #[allow(unused)]
    pub size: u32,
    /// Of a macro.
    k: Vec<u32> = |t| read(t),
}
/// Beyond.
fn beyond() {}
";
        let found = documented(source, "pub trait Thing");
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("make", "Makes `Other`, or `a \\| b`."),
                ("size", "A number."),
                ("k", "Of a macro."),
            ]
        );
    }

    #[test]
    fn subcommands_are_read_from_a_help_text() {
        let help =
            "About\n\nCommands:\n  run   Runs\n        and more\n  help  Help\n\nOptions:\n  -h\n";
        assert_eq!(subcommands(help).collect::<Vec<_>>(), ["run"]);
        assert_eq!(subcommands("Usage: x\n").count(), 0);
    }

    #[test]
    fn values_are_shown_without_the_marks_of_their_file() {
        assert_eq!(shown("[1, 2]"), "1, 2");
        assert_eq!(shown("\"a\""), "a");
        assert_eq!(shown("null"), "-");
    }
}
