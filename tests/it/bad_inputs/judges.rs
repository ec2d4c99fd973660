//! Rows 45 to 47: judges that cost money and refuse, fail or run out.

use std::{fs, path::Path};

use harness_store::Access;

use crate::{
    bench::small,
    paid::{
        assert_no_key, counter, judged_by, kept, paid,
        server::{Act, Server},
        store,
    },
    support::{harness, result, run, succeed},
};

/// No key: the variable is named, and what can be done without. A key that is refused, an account
/// without credit: the run ends at once. Code 30.
#[test]
fn row_45_no_key_or_no_credit() {
    let dir = tempfile::tempdir().unwrap();
    let out = store(dir.path());
    let server = Server::start(|_, _| Act::Answer);
    let ran = run(paid(&out, &server)
        .env_remove("OPENAI_API_KEY")
        .env_remove("OPENAI_BASE_URL"));
    assert_eq!(ran.code, 30, "{}", ran.stderr);
    for part in ["OPENAI_API_KEY", "--judge lexical", "replay"] {
        assert!(
            ran.stderr.contains(part),
            "{part} is not in\n{}",
            ran.stderr
        );
    }
    assert_eq!(server.n_asked(), 0);
    for (head, code) in [
        ("401 Unauthorized", "invalid_api_key"),
        ("429 Too Many Requests", "insufficient_quota"),
    ] {
        let server = Server::start(move |_, _| {
            let body = serde_json::json!({"error": {"message": "no", "code": code}});
            Act::Status(head, body.to_string())
        });
        let ran = run(paid(&out, &server).args(["--judge-concurrency", "1", "--workers", "1"]));
        assert_eq!(ran.code, 30, "{code}: {}", ran.stderr);
        assert_eq!(server.n_asked(), 1, "{code}: it stops at once");
        assert_no_key(&out, &[&ran.stdout, &ran.stderr]);
    }
    // What was computed before stays.
    assert_eq!(run(harness().args(["verify", "--out"]).arg(&out)).code, 0);
}

/// A judge that answers with every kind of nonsense: what passes is asked for again, what stays is
/// counted by its kind, and every other question is answered once. Nothing is dropped in silence.
/// (Each fault alone: `paid::faults`.)
#[test]
fn row_46_answers_that_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let out = store(dir.path());
    let long = || {
        format!(
            "{{\"score_without\": 3, \"score_after\": {}}}",
            "9".repeat(5000)
        )
    };
    let long: &'static str = Box::leak(long().into_boxed_str());
    let server = Server::start(move |number, before| match (number, before) {
        // A storm: the first questions are turned away, some with a web page.
        (0..=3, 0) => Act::Status("429 Too Many Requests\r\nretry-after: 0.2", "{}".into()),
        (4..=6, 0) => Act::Status("429 Too Many Requests", "<html>slow down</html>".into()),
        (7, 0) => Act::Hang,
        (8, 0) => Act::Cut,
        (13, _) => Act::Refuse,
        (14, _) => Act::Changed(|answer| format!("```json\n{answer}\n```")),
        (15, _) => Act::Content(long),
        (16, _) => Act::Content("{\"score_without\": \"high\", \"score_after\": 4}"),
        _ => Act::Answer,
    });
    let ran = succeed(&mut paid(&out, &server));
    let seen = server.seen();
    for number in 0..=8 {
        let one = server.asked_as(number);
        assert_eq!((one.asked, one.answered), (2, 1), "question {number}");
    }
    let refused = server.asked_as(13);
    assert_eq!((refused.asked, refused.answered), (1, 0));
    // A fence around right JSON is no fault: it is not asked for again.
    let fenced = server.asked_as(14);
    assert_eq!((fenced.asked, fenced.answered), (1, 1));
    for number in [15, 16] {
        assert_eq!(server.asked_as(number).asked, 2, "question {number}");
    }
    assert_eq!(counter(&out, "judge_refused"), 1);
    assert_eq!(counter(&out, "judge_unusable"), 2);
    assert_eq!(counter(&out, "judge_failed"), 0);
    assert!(
        ran.stderr.contains("1 refused, 2 not usable"),
        "{}",
        ran.stderr
    );
    // Every other question has its answer, and all are in the table's counts.
    let answered = seen.values().filter(|one| one.answered == 1).count();
    assert_eq!(answered, seen.len() - 3);
    let valid: u64 = column(&out, "table2.csv", "n_valid").iter().sum();
    let asked: u64 = column(&out, "table2.csv", "n_features").iter().sum();
    assert!(valid > 0 && valid <= asked, "{valid} of {asked}");
    row_46_windows_out_of_range();
}

/// A prediction that names windows which do not exist is not usable, and counted.
fn row_46_windows_out_of_range() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_, _| {
        Act::Changed(|answer| match answer.contains("active") {
            true => "{\"active\": [99]}".to_owned(),
            false => "{\"explanation\": \"=cmd|boats \\u001b[2J\"}".to_owned(),
        })
    });
    let mut command = harness();
    command
        .args([
            "bench",
            "autointerp",
            "--plugins",
            "plugins",
            "--rows",
            "dream-mask",
        ])
        .args([
            "--layers",
            "2",
            "--k",
            "8",
            "--budget-tokens",
            "12000",
            "--threads",
            "1",
        ])
        .args(["--latents", "3", "--out"])
        .arg(dir.path());
    succeed(&mut judged_by(command, &server));
    let of = |name| column(dir.path(), "autointerp.csv", name);
    assert_eq!((of("n_asked"), of("n_unparsed")), (vec![3], vec![3]));
    // What was answered is told, and what was explained is a text and no formula.
    let latents = result(dir.path(), "latents.csv");
    let rows = latents.lines().count() - 1;
    assert!(rows >= 3, "{latents}");
    assert_eq!(latents.matches("window 99").count(), rows, "{latents}");
    let inert = "'=cmd|boats \\u{1b}[2J";
    assert_eq!(latents.matches(inert).count(), rows, "{latents}");
}

/// Numbers of a column.
fn column(out: &Path, file: &str, name: &str) -> Vec<u64> {
    let text = result(out, file);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let at = reader.headers().unwrap().iter().position(|c| c == name);
    let at = at.unwrap_or_else(|| panic!("no {name} in\n{text}"));
    let rows = reader.records().map(|record| record.unwrap());
    rows.map(|row| row[at].parse().unwrap_or(0)).collect()
}

/// A budget that is used up in the middle: code 31, what was answered is kept and a larger one goes
/// on. A reply that replay does not have: code 30, with its key and how the question begins.
#[test]
fn row_47_a_budget_and_a_missing_reply() {
    let dir = tempfile::tempdir().unwrap();
    let out = store(dir.path());
    let server = Server::start(|_, _| Act::Answer);
    let ran = run(paid(&out, &server).args(["--max-calls", "7"]));
    assert_eq!(ran.code, 31, "{}", ran.stderr);
    assert!(ran.stderr.contains("--max-calls"), "{}", ran.stderr);
    assert_eq!(kept(&out.join("replies")).len(), 7);
    succeed(&mut paid(&out, &server));
    assert!(server.seen().values().all(|seen| seen.asked == 1));
    let n = server.n_asked();

    let replies = out.join("replies");
    let lost = kept(&replies).remove(0);
    let key = lost.file_stem().unwrap().to_string_lossy().into_owned();
    fs::remove_file(&lost).unwrap();
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    let other = store(&other);
    let folder = replies.display().to_string();
    let args = ["--judge", "replay", "--replies", &folder];
    let ran = run(small(&other).args(args));
    assert_eq!(ran.code, 30, "{}", ran.stderr);
    for part in [key.as_str(), "which begins `", "--replies"] {
        assert!(
            ran.stderr.contains(part),
            "{part} is not in\n{}",
            ran.stderr
        );
    }
    assert_eq!(server.n_asked(), n, "replay asks nobody");
    let kept = harness_store::Store::open(&other, Access::Read).unwrap();
    assert!(!kept.keys().unwrap().is_empty());
}
