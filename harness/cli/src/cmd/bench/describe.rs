//! Cells in words.

use harness_contract::{cell::Cell, protocol::Failure};
use harness_plan::expand::{Plan, PlannedGroup};

pub use crate::output::bytes;
use crate::output::sanitize;

/// `STAGE dream, 24 SAEs, tokens 0 to 20000` for cells that are run together, else as [`cell`].
pub fn cell_or_group(plan: &Plan, cell: &Cell) -> String {
    match plan.group_of(&cell.key) {
        Some(group) => self::group(&plan.groups[group]),
        None => self::cell(plan, cell),
    }
}

/// All that is known of a failure.
pub fn failure(failure: &Failure) -> String {
    sanitize(&failure.told())
}

/// A group in words.
pub fn group(group: &PlannedGroup) -> String {
    let n = group.members.len();
    let s = if n == 1 { "" } else { "s" };
    format!("{} {}, {n} SAE{s}, {}", group.what, group.model, group.text)
}

/// `steer dream-mask layer 4 k 8`, or `baseline dream` for a cell that serves several SAEs.
pub fn cell(plan: &Plan, cell: &Cell) -> String {
    let stage = cell.stage();
    let served: Vec<_> = plan
        .rows
        .iter()
        .filter(|row| row.keys().contains(&cell.key.as_str()))
        .collect();
    let shared = (served.first()).and_then(|row| row.work.describe_shared(cell));
    if let Some(text) = shared {
        return text;
    }
    match served.as_slice() {
        [] => format!("{stage} {}", cell.short()),
        [row] => row.work.describe(plan, row, cell),
        [row, rest @ ..]
            if rest
                .iter()
                .all(|r| (&r.sae.set, &r.sae.id) == (&row.sae.set, &row.sae.id)) =>
        {
            format!("{stage} {}", row.name())
        }
        [row, ..] => format!("{stage} {}", row.model),
    }
}

/// A number with thousands apart, as people read it.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Floating-point operations in the unit that suits them.
pub fn flops(n: f64) -> String {
    match n {
        n if n >= 1e15 => format!("{:.1} PFLOP", n / 1e15),
        n if n >= 1e12 => format!("{:.1} TFLOP", n / 1e12),
        n => format!("{:.1} GFLOP", n / 1e9),
    }
}

/// Floating-point operations a second.
pub fn rate(n: f64) -> String {
    match n {
        n if n >= 1e15 => format!("{:.1} PFLOP/s", n / 1e15),
        n if n >= 1e12 => format!("{:.0} TFLOP/s", n / 1e12),
        n => format!("{:.1} GFLOP/s", n / 1e9),
    }
}

/// Time of a device in the unit that suits it.
pub fn device_time(seconds: f64) -> String {
    match seconds {
        s if s <= 0.0 => "0".to_owned(),
        s if s >= 3600.0 => format!("{:.1} h", s / 3600.0),
        s if s >= 60.0 => format!("{:.1} min", s / 60.0),
        s => format!("{s:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(
            [0, 999, 1000, 1234567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!([bytes(1), bytes(3 << 29)], ["1 MiB", "1.5 GiB"]);
        let times = [0.0, 0.25, 90.0, 5400.0].map(device_time);
        assert_eq!(times, ["0", "0.2 s", "1.5 min", "1.5 h"]);
        let rates = [2e10, 989e12, 2e15].map(rate);
        assert_eq!(rates, ["20.0 GFLOP/s", "989 TFLOP/s", "2.0 PFLOP/s"]);
    }
}
