//! What following latents costs for each activation of an SAE.

use crate::kernels::own_seconds;
use anyhow::{Context, Result, ensure};
use harness_core::{
    autointerp::{Activity, Codes, Places, WindowRules},
    rng::Stream,
};

const D_SAE: usize = 16384;
/// Those a sample of up to 256 latents follows.
const FOLLOWED: usize = 1024;
const ROW_TOKENS: usize = 128;
/// Active budgets of the paper, and the rows of text each is timed on.
const CASES: [(usize, usize); 6] = [
    (50, 2400),
    (80, 1800),
    (160, 1200),
    (320, 700),
    (520, 500),
    (820, 400),
];
/// Rows of codes that are made before the clock runs, and then come again and again.
const MADE: usize = 50;

/// Codes of a row: latents of position t are an arithmetic progression from a random start, of
/// which the first hundredth is 16 times as likely, with activations from an exponential
/// distribution.
fn row_codes(row: u64, k: usize) -> (Vec<f32>, Vec<i64>) {
    let draws = Stream::new(1, "codes").item(row);
    let (mut acts, mut latents) = (Vec::new(), Vec::new());
    for t in 0..ROW_TOKENS {
        let own = draws.item(t as u64);
        let mut sizes: Vec<f32> = (0..k as u64)
            .map(|i| 0.01 - (1.0 - own.uniform_at(i)).ln() as f32)
            .collect();
        sizes.sort_unstable_by(|a, b| b.total_cmp(a));
        acts.extend(sizes);
        let n_common = k.div_ceil(8);
        let from = own.label("start");
        let span = (D_SAE / 100) as u64;
        let common = (0..n_common as u64).map(|i| (from.below_at(0, span) + 7 * i) % span);
        let rest =
            (n_common..k).map(|i| span + (from.below_at(1, 16_000) + 17 * i as u64) % 16_000);
        latents.extend(common.chain(rest).map(|latent| latent as i64));
    }
    (acts, latents)
}

/// The processor time of this thread: by the clock, other work on the machine would be counted with
/// it.
fn seconds_of_this_thread() -> Result<f64> {
    own_seconds().context("the system keeps no account of processor time")
}

/// Prints nanoseconds an activation for each budget.
///
/// # Errors
/// Codes that are none.
pub fn run(_: &[String]) -> Result<()> {
    println!(
        "{D_SAE} latents, {FOLLOWED} followed, rows of {ROW_TOKENS} tokens, processor time of one thread"
    );
    println!(
        "{:>5} {:>12} {:>10} {:>9}",
        "k", "activations", "seconds", "ns each"
    );
    let followed: Vec<u32> = Stream::new(0, "latents")
        .sample_indices(D_SAE, FOLLOWED)
        .into_iter()
        .map(|latent| latent as u32)
        .collect();
    let (mut all_seconds, mut all_tokens) = (0.0, 0.0);
    for (k, n_rows) in CASES {
        let made: Vec<_> = (0..MADE as u64).map(|row| row_codes(row, k)).collect();
        let places = Places::new((0..n_rows).map(|_| ROW_TOKENS), 10);
        let rules = WindowRules::default();
        let mut activity = Activity::new(D_SAE, &followed, rules, 0, &places, None);
        let counts = [true; ROW_TOKENS];
        let start = seconds_of_this_thread()?;
        for row in 0..n_rows {
            let (acts, latents) = &made[row % MADE];
            let codes = Codes {
                w: k,
                acts,
                latents,
            };
            activity.push_row(row as u64, &counts, codes, &[])?;
        }
        let seconds = seconds_of_this_thread()? - start;
        let n = (n_rows * ROW_TOKENS * k) as u64;
        ensure!(
            activity.n_active().iter().sum::<u64>() == n,
            "activations were lost"
        );
        println!(
            "{k:>5} {n:>12} {seconds:>10.2} {:>9.2}",
            1e9 * seconds / n as f64
        );
        all_seconds += seconds / (n_rows * ROW_TOKENS) as f64;
        all_tokens += 1.0;
    }
    println!(
        "six layers of these six, 5 million tokens: {:.0} s of one core, {:.2} us for each token of an SAE",
        6.0 * 5e6 * all_seconds,
        1e6 * all_seconds / all_tokens
    );
    Ok(())
}
