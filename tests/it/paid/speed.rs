//! A thousand latents through a fast server. `cargo test --release -p harness-tests --test it
//! paid::speed -- --nocapture` prints the figures.

use std::{path::Path, process::Command, time::Duration};

use super::{CANARY, kept, server::Act, server::Server};
use crate::support::{copy_folder, harness, result, succeed};

/// Time the server takes for an answer.
const LATENCY: Duration = Duration::from_millis(20);
/// Questions a second that the harness must reach with 64 of them under way.
const LEAST: f64 = 200.0;

/// Table 2 with 12 SAEs of 90 latents, each explained and judged once, with texts as short as can
/// be.
fn thousand(out: &Path) -> Command {
    let mut command = harness();
    command
        .args(["bench", "table2", "--plugins", "plugins", "--out"])
        .arg(out)
        .args("--layers 2 --k 4,8 --n-features 90 --n-prefix 1 --dlm-steps 2".split(' '))
        .args("--max-new-tokens 4 --budget-tokens 20000".split(' '));
    command
}

/// Asks everything once; the figures of the run's manifest.
fn asked(texts: &Path, out: &Path) -> serde_json::Value {
    copy_folder(texts, out);
    let server = Server::start(|_, _| Act::Slow(LATENCY));
    let ran = succeed(
        thousand(out)
            .args(["--judge", "openai", "--judge-concurrency", "64"])
            .env("OPENAI_BASE_URL", server.url())
            .env("OPENAI_API_KEY", CANARY),
    );
    let seen = server.seen();
    assert!(seen.len() >= 1900, "{} different questions", seen.len());
    assert!(seen.values().all(|seen| seen.asked == 1));
    assert!(server.n_most() <= 64);
    assert_eq!(kept(&out.join("replies")).len(), seen.len());
    let manifest: serde_json::Value = serde_json::from_str(&result(out, "run.json")).unwrap();
    let judging = &manifest["judging"];
    assert_eq!(judging["calls"], seen.len());
    let line = ran.stderr.lines().find(|line| line.starts_with("judge: "));
    let line = line.unwrap_or_else(|| panic!("no line about the judge in\n{}", ran.stderr));
    assert!(line.contains("own share"), "{line}");
    eprintln!("{line}");
    judging.clone()
}

#[test]
fn a_thousand_latents_are_asked_for_at_two_hundred_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let texts = dir.path().join("texts");
    // Texts are made first, so that what follows asks and does nothing else.
    succeed(&mut thousand(&texts));
    // What others do on the machine can only slow it down: the best of three counts.
    let mut rates = Vec::new();
    for number in ["first", "second", "third"] {
        let judging = asked(&texts, &dir.path().join(number));
        let share = judging["own_share"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&share), "{judging}");
        rates.push(judging["calls_per_second"].as_f64().unwrap());
        if rates.iter().any(|rate| *rate >= LEAST) {
            return;
        }
    }
    panic!("{rates:.0?} questions a second");
}
