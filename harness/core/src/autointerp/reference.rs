//! The windows of a latent, found by keeping every activation: slow, short, and what
//! [`super::LatentTracker`] is tested against.

use super::{
    ActWindow, Origin, Places, Split, WindowRules,
    draw::{draws, key},
    window::{capture, split},
};

/// One row of a text as a latent sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ActRow {
    /// Tokens.
    pub len: usize,
    /// Position and activation where it is above 0, ascending by position.
    pub acts: Vec<(u32, f32)>,
}

/// Windows of a latent in a text; `None` when there are fewer than the rules want.
pub fn windows(latent: u32, seed: u64, rules: &WindowRules, rows: &[ActRow]) -> Option<Split> {
    let buffer = rules.buffer;
    let mut all: Vec<(f32, usize, u32)> = Vec::new();
    for (row, ActRow { len, acts }) in rows.iter().enumerate() {
        for &(position, act) in acts {
            if position >= buffer && ((position + buffer) as usize) < *len {
                all.push((act, row, position));
            }
        }
    }
    let window = |origin: Origin, row: usize, position: u32| ActWindow {
        origin,
        row: row as u64,
        position,
        acts: capture(position, buffer, &rows[row].acts),
    };

    all.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let mut top: Vec<(f32, usize, u32)> = Vec::new();
    for &(act, row, position) in &all {
        let is_apart =
            |other: &(f32, usize, u32)| other.1 != row || other.2.abs_diff(position) > buffer;
        if top.len() < rules.n_top as usize && top.iter().all(is_apart) {
            top.push((act, row, position));
        }
    }
    let floor = top.last().map_or(f32::INFINITY, |(act, ..)| *act);

    let mut keys: Vec<(f64, usize, u32)> = all
        .iter()
        .filter(|(act, ..)| *act < floor)
        .filter_map(|&(act, row, position)| {
            let draw = draws(seed, latent).item(row as u64);
            let key = key(
                draw.uniform_at(u64::from(position)),
                act,
                rules.weight_power,
            )?;
            Some((key, row, position))
        })
        .collect();
    keys.sort_by(|a, b| a.0.total_cmp(&b.0));
    keys.truncate(rules.n_weighted as usize);

    let places = Places::new(rows.iter().map(|row| row.len), buffer);
    split(
        rules,
        seed,
        latent,
        top.iter().map(|p| window(Origin::Top, p.1, p.2)).collect(),
        keys.iter()
            .map(|k| window(Origin::Weighted, k.1, k.2))
            .collect(),
        places
            .draw(seed, latent, rules.n_random)
            .into_iter()
            .map(|(row, position)| window(Origin::Random, row as usize, position))
            .collect(),
    )
}
