//! Results to standard output, talk to standard error, colours only where they help.

use std::{
    env,
    io::{self, IsTerminal, Write},
    sync::OnceLock,
};

pub use harness_contract::sanitize::sanitize;

/// Write a result and a line end.
///
/// # Errors
/// When standard output is closed or full; a closed one ends a command without an error message.
pub fn result(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Say something to the person in front of it.
pub fn talk(text: &str) {
    // Nobody is there to be told when standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Say that something is not as it should be. What the text holds of files and plugins is
/// sanitized.
pub fn warn(text: &str) {
    talk(&format!("{} {}", bold("warning:"), sanitize(text)));
}

/// Text in red, on a terminal that wants colours.
pub fn red(text: &str) -> String {
    paint("1;31", text)
}

/// Bold text, likewise.
pub fn bold(text: &str) -> String {
    paint("1", text)
}

/// Whether standard error is a terminal.
pub fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

fn paint(style: &str, text: &str) -> String {
    static WANTED: OnceLock<bool> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| {
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        is_terminal() && !is_set("NO_COLOR") && !is_dumb
    });
    if *wanted {
        format!("\x1b[{style}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Bytes in the unit that suits them.
pub fn bytes(n: u64) -> String {
    let n = n as f64;
    match n {
        n if n >= (1u64 << 30) as f64 => format!("{:.1} GiB", n / (1u64 << 30) as f64),
        n => format!("{:.0} MiB", (n / (1u64 << 20) as f64).ceil()),
    }
}

/// Columns of text, padded to their widest cell; the last is left ragged.
pub fn columns(rows: &[Vec<String>]) -> String {
    let n = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| {
        rows.iter()
            .filter_map(|row| row.get(i))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..n).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (i, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if i + 1 < row.len() {
                let pad = widths[i] - cell.chars().count() + 2;
                line.extend(std::iter::repeat_n(' ', pad));
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = |cells: &[&str]| cells.iter().map(|c| (*c).to_owned()).collect();
        let text = columns(&[row(&["a", "bb", "x"]), row(&["ccc", "", ""])]);
        assert_eq!(text, "a    bb  x\nccc\n");
    }
}
