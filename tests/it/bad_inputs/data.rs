//! Rows 34 to 38: text, questions and prompts.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::Command,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use super::support::{again, continued, fidelity, limited, model, refused, says, table};
use crate::support::{cell_files, harness, result, run, succeed};

/// Tokens of the passes: about 100 rows.
const TOKENS: u64 = 3000;

fn row(i: u32) -> String {
    let text = format!(
        "The baker of house {i} opened the oven early and took out {} loaves of bread for the market.",
        i * 7 % 31
    );
    json!({ "text": text }).to_string()
}

fn rows(n: u32) -> Vec<String> {
    (0..n).map(row).collect()
}

fn write(path: &Path, rows: &[impl AsRef<[u8]>]) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    for row in rows {
        file.write_all(row.as_ref()).unwrap();
        file.write_all(b"\n").unwrap();
    }
    file.flush().unwrap();
}

fn on(dir: &Path, data: &Path) -> Command {
    let mut command = fidelity(dir, TOKENS);
    command.arg("--data").arg(data);
    command
}

fn manifest(dir: &Path) -> Value {
    serde_json::from_str(&result(&dir.join("out"), "run.json")).unwrap()
}

/// Row 34: rows that are no JSON, no UTF-8, without the field, blank, or of 200 MB. Over the limit
/// of 0.1 % the run is refused with the place of the first. `--max-bad-rows` raises it: the rows
/// are passed over, counted in the manifest, said once, and the others are read as if they were not
/// there.
#[test]
fn row_34_bad_rows() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("text.jsonl");
    write(&data, &rows(300));
    succeed(&mut on(dir.path(), &data));
    let sound = table(dir.path());
    assert_eq!(manifest(dir.path())["bad_rows"], json!([]));

    let with = |bad: &[u8]| {
        let mut all: Vec<Vec<u8>> = rows(300).into_iter().map(String::into_bytes).collect();
        all.insert(16, bad.to_vec());
        write(&data, &all);
    };
    let cases: [(&[u8], &str); 5] = [
        (b"{\"text\": oops", "not JSON at column 10"),
        (b"{\"text\": \"caf\xe9\"}", "not UTF-8 at byte 13"),
        (b"{\"txt\": \"a\"}", "no field \"text\"; it has [\"txt\"]"),
        (b"", "a blank line"),
        (b"{\"text\": 7}", "field \"text\" is a number, not text"),
    ];
    for (bad, reason) in cases {
        with(bad);
        let said = refused(&mut on(dir.path(), &data));
        says(
            &said,
            &[
                "1 of",
                "rows are bad, 0 allowed",
                "text.jsonl:17",
                reason,
                "--max-bad-rows",
            ],
        );
        let ran = succeed(on(dir.path(), &data).args(["--max-bad-rows", "0.02"]));
        says(
            &ran.stderr,
            &[
                "cannot be used and are passed over",
                "text.jsonl:17",
                reason,
            ],
        );
        assert_eq!(
            ran.stderr.matches("text.jsonl:17").count(),
            1,
            "{}",
            ran.stderr
        );
        says(&ran.stdout, &["1 bad rows passed over"]);
        assert_eq!(table(dir.path()), sound, "{reason}");
        let counted = &manifest(dir.path())["bad_rows"];
        assert_eq!(counted[0]["n_bad_rows"], 1, "{counted}");
        assert_eq!(
            counted[0]["files"],
            manifest(dir.path())["data"],
            "{counted}"
        );
    }
    // What was allowed is not taken for what would not have been.
    let mut strict = again(&dir.path().join("out"), TOKENS);
    says(
        &refused(strict.arg("--data").arg(&data)),
        &["rows are bad, 0 allowed"],
    );

    let file = File::create(&data).unwrap();
    let mut file = BufWriter::new(file);
    for i in 0..300 {
        if i == 16 {
            file.write_all(b"{\"text\": \"").unwrap();
            for _ in 0..200 {
                file.write_all(&[b'a'; 1 << 20]).unwrap();
            }
            file.write_all(b"\"}\n").unwrap();
        }
        writeln!(file, "{}", row(i)).unwrap();
    }
    drop(file);
    let reason = "a line of 209715212 bytes, the limit is 67108864";
    says(
        &refused(&mut on(dir.path(), &data)),
        &["text.jsonl:17", reason],
    );
    let ran = succeed(on(dir.path(), &data).args(["--max-bad-rows", "0.02"]));
    says(&ran.stderr, &["text.jsonl:17", reason]);
    assert_eq!(table(dir.path()), sound);

    // A share is a share, of a bench and of a training run.
    let ran = run(on(dir.path(), &data).args(["--max-bad-rows", "1.5"]));
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    says(&ran.stderr, &["--max-bad-rows", "a share from 0 to 1"]);
}

/// Row 34, `harness train`: the same limit, the same words.
#[test]
fn row_34_bad_rows_of_training_text() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("text.jsonl");
    let mut all = rows(400);
    all.insert(16, "{\"text\": oops".to_owned());
    write(&data, &all);
    let train = |out: &str| {
        let mut command = harness();
        command
            .args([
                "train",
                "--plugins",
                "plugins",
                "--model",
                "dream",
                "--layers",
                "1",
                "--k",
                "4",
            ])
            .args([
                "--policies",
                "mask",
                "--d-sae",
                "16",
                "--tokens",
                "512",
                "--batch",
                "64",
            ])
            .args(["--context-length", "64", "--threads", "1", "--data"])
            .arg(&data)
            .arg("--out")
            .arg(dir.path().join(out));
        command
    };
    says(
        &refused(&mut train("refused")),
        &["rows are bad", "text.jsonl:17", "--max-bad-rows"],
    );
    let ran = succeed(train("allowed").args(["--max-bad-rows", "0.1"]));
    says(
        &ran.stderr,
        &[
            "1 of",
            "cannot be used and are passed over",
            "text.jsonl:17",
        ],
    );
    let ran = run(train("wrong").args(["--max-bad-rows", "-1"]));
    assert!([2, 3].contains(&ran.code), "{}", ran.stderr);
}

fn gz(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Row 35: gzip that is cut or damaged says where; several members are one text; a zstd frame with
/// a window of 2 GB and archives that expand more than 300-fold are refused before they take
/// memory.
#[test]
fn row_35_archives() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    // Whole, the text is longer than the pass; the damage lies within.
    let text = rows(120).join("\n") + "\n";
    let whole = gz(text.as_bytes());
    let cut = file("cut.jsonl.gz", &whole[..whole.len() / 2]);
    let said = refused(&mut on(dir.path(), &cut));
    says(
        &said,
        &[
            "gzip",
            "ends in the middle of a member",
            "at byte",
            "of the compressed file",
        ],
    );
    let short = rows(50).join("\n") + "\n";
    let mut wrong = gz(short.as_bytes());
    let sum = wrong.len() - 7;
    wrong[sum] ^= 1;
    let wrong = file("sum.jsonl.gz", &wrong);
    says(
        &refused(&mut on(dir.path(), &wrong)),
        &["sum.jsonl.gz", "gzip", "at byte", "fetch it again"],
    );

    let plain = file("plain.jsonl", text.as_bytes());
    succeed(&mut on(dir.path(), &plain));
    let sound = table(dir.path());
    let (first, second) = text.split_at(text.len() / 3);
    let members = file(
        "members.jsonl.gz",
        &[gz(first.as_bytes()), gz(second.as_bytes())].concat(),
    );
    succeed(&mut on(dir.path(), &members));
    assert_eq!(table(dir.path()), sound);

    // A frame whose header asks for a window of 2^31 bytes.
    let window = [
        &[0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3][..],
        &[3 | 1 << 3, 0, 0],
        b"\n",
    ]
    .concat();
    let window = file("window.jsonl.zst", &window);
    let mut command = limited(&on(dir.path(), &window), 8 << 20);
    says(
        &refused(&mut command),
        &["zstd", "a window of more than 128 MiB"],
    );

    let chunk = vec![b'a'; 1 << 20];
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    let mut other = zstd::stream::write::Encoder::new(Vec::new(), 19).unwrap();
    bomb.write_all(b"{\"text\": \"").unwrap();
    other.write_all(b"{\"text\": \"").unwrap();
    for _ in 0..200 {
        bomb.write_all(&chunk).unwrap();
        other.write_all(&chunk).unwrap();
    }
    let bombs = [
        file("bomb.jsonl.gz", &bomb.finish().unwrap()),
        file("bomb.jsonl.zst", &other.finish().unwrap()),
    ];
    for bomb in bombs {
        let mut command = on(dir.path(), &bomb);
        command.args(["--max-bad-rows", "1"]);
        says(
            &refused(&mut command),
            &["more than 300-fold", "decompression bomb", "at byte"],
        );
    }
    let lie = file("lie.jsonl.gz", text.as_bytes());
    says(
        &refused(&mut on(dir.path(), &lie)),
        &["its name promises gzip"],
    );
    let cut = file("cut.parquet", b"PAR1 and then nothing");
    says(
        &refused(&mut on(dir.path(), &cut)),
        &["parquet", "the download is incomplete"],
    );
}

/// Row 36: text that ends before the tokens that were asked for: both numbers, unless
/// `--allow-short` takes what is there.
#[test]
fn row_36_text_that_ends_early() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("text.jsonl");
    write(&data, &rows(20));
    let said = refused(&mut on(dir.path(), &data));
    says(
        &said,
        &[
            "the data end after",
            "tokens",
            "the bench reads 3000",
            "--allow-short",
        ],
    );
    let ran = succeed(on(dir.path(), &data).arg("--allow-short"));
    says(&ran.stdout, &["the text ended before the budget did"]);
    fs::write(&data, "").unwrap();
    let said = refused(on(dir.path(), &data).arg("--allow-short"));
    says(&said, &["there is no text"]);
}

/// Questions, some of whose worked answers are replaced.
fn questions(path: &Path, n: u32, unread: &[(u32, &str)]) {
    let lines: Vec<String> = (0..n)
        .map(|i| {
            let answer = (unread.iter())
                .find(|(at, _)| *at == i)
                .map_or(format!("{i} and 3 are {}.\n#### {}", i + 3, i + 3), |(_, text)| (*text).to_owned());
            json!({"question": format!("Tom has {i} apples and buys 3. How many has he?"), "answer": answer}).to_string()
        })
        .collect();
    write(path, &lines);
}

/// `harness bench decoding-order` of four questions in two orders, anew.
fn decoding(dir: &Path, questions: &Path) -> Command {
    answering(dir, questions, "8")
}

/// The same with answers of so many tokens.
fn answering(dir: &Path, questions: &Path, tokens: &str) -> Command {
    let out = dir.join("out");
    let _ = fs::remove_dir_all(&out);
    let mut command = harness();
    command
        .args(["bench", "decoding-order", "--plugins", "plugins"])
        .args(["--layers", "2", "--orders", "origin,entropy"])
        .args(["--n-questions", "4", "--set", "shard_questions=2"])
        .args(["--dlm-steps", "4", "--max-new-tokens", tokens])
        .args(["--threads", "1", "--questions"])
        .arg(questions)
        .arg("--out")
        .arg(out);
    command
}

/// Row 37: questions without `####`, or with something after it that is no number: refused with
/// their rows before anything is answered. With `--max-bad-rows` they are named, counted and not
/// scored.
#[test]
fn row_37_gold_answers_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gsm8k.jsonl");
    questions(
        &file,
        4,
        &[(1, "Nobody knows."), (3, "So many.\n#### many")],
    );
    let said = refused(&mut decoding(dir.path(), &file));
    says(
        &said,
        &[
            "2 of 4 questions have no gold answer",
            "gsm8k.jsonl:2",
            "gsm8k.jsonl:4",
            "####",
            "--max-bad-rows",
        ],
    );
    assert_eq!(manifest(dir.path())["cells"]["done"], 0);

    let ran = succeed(decoding(dir.path(), &file).args(["--max-bad-rows", "0.5"]));
    says(
        &ran.stderr,
        &[
            "2 questions have no gold answer",
            "are not scored",
            "gsm8k.jsonl:2",
            "gsm8k.jsonl:4",
        ],
    );
    says(
        &ran.stdout,
        &["2 questions have a gold answer that could not be read"],
    );
    let csv = result(&dir.path().join("out"), "accuracy.csv");
    let mut table = csv::Reader::from_reader(csv.as_bytes());
    let at = |name: &str| {
        csv.lines()
            .next()
            .unwrap()
            .split(',')
            .position(|c| c == name)
            .unwrap()
    };
    let (n, unread) = (at("n"), at("n_gold_unread"));
    let mut lines = 0;
    for record in table.records() {
        let record = record.unwrap();
        assert_eq!((&record[n], &record[unread]), ("2", "2"), "{record:?}");
        lines += 1;
    }
    assert!(lines > 0);
    // One in four is within a half, two are not within a quarter.
    refused(decoding(dir.path(), &file).args(["--max-bad-rows", "0.25"]));
    // An answer of the model's that is no number is a wrong answer, and no error.
    questions(&file, 4, &[]);
    succeed(&mut decoding(dir.path(), &file));
}

/// Row 38: a prompt without text (empty, or special tokens alone) is refused by `harness generate`,
/// passed over and counted among the prompts of a bench; one that does not fit the context together
/// with what is to be written is refused with the numbers; documents that serve as prompts are cut
/// at their end to `prompt_tokens`; a question that is longer is refused, since cutting it would
/// cut the question.
#[test]
fn row_38_prompts() {
    let dir = tempfile::tempdir().unwrap();
    let long = "the baker ".repeat(1200);
    for (name, special, context) in [
        ("dream", "<|endoftext|>", 1024),
        ("gpt2", "<|endoftext|>", 256),
        ("llada", "<|mdm_mask|>", 1024),
    ] {
        let model = model(dir.path(), name);
        for prompt in ["", special, &special.repeat(3)] {
            says(
                &refused(&mut continued(&model, prompt)),
                &["the prompt holds no text"],
            );
        }
        let said = refused(&mut continued(&model, &long));
        let context = format!("context of {context}");
        says(
            &said,
            &["a prompt of", "4 new ones", &context, "--max-new-tokens"],
        );
    }

    let file = dir.path().join("prompts.jsonl");
    let rollouts = |prompts: &[&str]| {
        let lines: Vec<String> = prompts
            .iter()
            .map(|p| json!({ "prompt": p }).to_string())
            .collect();
        write(&file, &lines);
        let out = dir.path().join("rollouts");
        let _ = fs::remove_dir_all(&out);
        let mut command = harness();
        command
            .args([
                "bench",
                "transfer-rollouts",
                "--plugins",
                "plugins",
                "--layers",
                "1",
                "--k",
                "8",
            ])
            .args([
                "--measures",
                "none",
                "--set",
                "n_prompts=2",
                "--set",
                "prompt_tokens=8",
            ])
            .args([
                "--dlm-steps",
                "4",
                "--max-new-tokens",
                "8",
                "--threads",
                "1",
                "--prompts",
            ])
            .arg(&file)
            .arg("--out")
            .arg(out);
        command
    };
    let all = ["", "<|endoftext|>", "The baker opened", &long];
    let plain = ["--set", "chat=false"];
    says(
        &refused(rollouts(&all[..3]).args(plain)),
        &["the data hold 1 prompts", "the bench reads 2"],
    );
    // As a message to an assistant none is cut: that would cut the assistant's turn.
    says(
        &refused(&mut rollouts(&all)),
        &["prompt 0 has", "prompt_tokens is 8"],
    );
    let ran = succeed(rollouts(&all).args(plain));
    says(
        &ran.stderr,
        &["1 prompts hold special tokens alone and are passed over"],
    );
    let cells = cell_files(&dir.path().join("rollouts"), "\"stage\":\"rollout\"");
    assert!(!cells.is_empty());
    for cell in cells {
        let record: Value = serde_json::from_slice(&fs::read(cell).unwrap()).unwrap();
        let counted =
            ["n_without_text", "n_cut"].map(|name| record["record"]["output"][name].clone());
        assert_eq!(counted, [json!(1), json!(1)]);
    }

    let file = dir.path().join("questions.jsonl");
    questions(&file, 4, &[]);
    let said = refused(decoding(dir.path(), &file).args(["--set", "prompt_tokens=6"]));
    says(
        &said,
        &["question", "prompt_tokens is 6", "prompt_tokens=N"],
    );
    let said = refused(&mut answering(dir.path(), &file, "1020"));
    says(&said, &["1020 new ones", "context of 1024"]);
}
