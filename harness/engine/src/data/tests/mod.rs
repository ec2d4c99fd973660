//! The data stream on real shards, generated files and damaged archives.

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::text::TextCodec;

mod archives;
mod foreign;
mod formats;
mod long;
mod parquet;

fn gz(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn file(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn read(path: &Path, options: DataOptions) -> (Vec<Document>, Option<DataError>, DataCounts) {
    let mut documents = Documents::open(&[path.to_owned()], options).unwrap();
    let mut found = Vec::new();
    let mut error = None;
    for document in &mut documents {
        match document {
            Ok(document) => found.push(document),
            Err(e) => error = Some(e),
        }
    }
    (found, error, documents.counts().clone())
}

fn rows(n: usize) -> String {
    (0..n)
        .map(|i| format!("{{\"id\": {i}, \"text\": \"document {i} é\"}}\n"))
        .collect()
}

#[test]
fn several_members_and_a_missing_last_newline_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let text = rows(100);
    let (head, tail) = text.as_bytes().split_at(1234); // in the middle of a row
    let bytes = [gz(head), gz(&tail[..tail.len() - 1])].concat();
    let (found, error, counts) = read(
        &file(dir.path(), "a.jsonl.gz", &bytes),
        DataOptions::default(),
    );
    assert!(error.is_none(), "{error:?}");
    assert_eq!(found.len(), 100);
    assert_eq!(
        (found[57].item, found[57].text.as_str()),
        (57, "document 57 é")
    );
    assert_eq!(found[57].fields["id"], 57);
    assert_eq!(
        (counts.rows, counts.documents, counts.bad_rows),
        (100, 100, 0)
    );
}

#[test]
fn bad_rows_are_located_counted_and_limited() {
    let dir = tempfile::tempdir().unwrap();
    let bad: [(&[u8], &str); 6] = [
        (b"{\"text\": \"cut", "not JSON"),
        (b"\xff\xfe", "not UTF-8 at byte 0"),
        (b"{\"body\": \"x\"}", "no field \"text\"; it has [\"body\"]"),
        (b"{\"text\": 3}", "field \"text\" is a number"),
        (b"", "a blank line"),
        (b"[1]", "no object"),
    ];
    for (line, reason) in bad {
        let bytes = [rows(2).as_bytes(), line, b"\n", rows(2).as_bytes()].concat();
        let path = file(dir.path(), "b.jsonl", &bytes);
        let (found, error, counts) = read(
            &path,
            DataOptions {
                max_bad_rows: 0.2,
                ..Default::default()
            },
        );
        assert!(error.is_none(), "{error:?}");
        assert_eq!((found.len(), counts.rows, counts.bad_rows), (4, 5, 1));
        assert_eq!(counts.examples[0].line, 3);
        assert!(
            counts.examples[0].reason.contains(reason),
            "{}",
            counts.examples[0]
        );
        let (_, error, _) = read(&path, DataOptions::default());
        let message = error.map(|e| e.to_string()).unwrap_or_default();
        assert!(
            message.contains("1 of 5 rows are bad, 0 allowed") && message.contains("b.jsonl:3"),
            "{message}"
        );
    }
}

#[test]
fn an_endless_line_is_a_bad_row_and_is_not_stored() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = [
        b"{\"text\": \"",
        "x".repeat(5000).as_bytes(),
        b"\"}\n",
        rows(1).as_bytes(),
    ]
    .concat();
    let options = DataOptions {
        max_line_bytes: 1000,
        max_bad_rows: 0.5,
        ..Default::default()
    };
    let (found, error, counts) = read(&file(dir.path(), "c.jsonl", &bytes), options);
    assert!(error.is_none());
    assert_eq!(found.len(), 1);
    assert!(
        counts.examples[0]
            .reason
            .contains("a line of 5012 bytes, the limit is 1000"),
        "{}",
        counts.examples[0]
    );
}

#[test]
fn damaged_archives_name_the_offset() {
    let dir = tempfile::tempdir().unwrap();
    let whole = gz(rows(3000).as_bytes());
    let cut = file(dir.path(), "cut.jsonl.gz", &whole[..whole.len() / 2]);
    let (_, error, _) = read(&cut, DataOptions::default());
    let message = error.map(|e| e.to_string()).unwrap_or_default();
    assert!(
        message.contains("middle of a member")
            && message.contains(&format!("at byte {}", whole.len() / 2)),
        "{message}"
    );
    let mut flipped = whole.clone();
    let crc = whole.len() - 8;
    flipped[crc] ^= 1;
    let (_, error, _) = read(
        &file(dir.path(), "crc.jsonl.gz", &flipped),
        DataOptions::default(),
    );
    let message = error.map(|e| e.to_string()).unwrap_or_default();
    assert!(message.contains("checksum"), "{message}");
}

#[test]
fn a_decompression_bomb_stops_early() {
    let dir = tempfile::tempdir().unwrap();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let block = vec![b'a'; 1 << 20];
    for _ in 0..80 {
        encoder.write_all(&block).unwrap();
    }
    let path = file(dir.path(), "bomb.jsonl.gz", &encoder.finish().unwrap());
    let (_, error, _) = read(
        &path,
        DataOptions {
            max_line_bytes: 1 << 20,
            max_bad_rows: 1.0,
            ..Default::default()
        },
    );
    let message = error.map(|e| e.to_string()).unwrap_or_default();
    assert!(message.contains("decompression bomb"), "{message}");
}

#[test]
fn plain_text_is_split_at_blank_lines_and_skip_keeps_items() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(
        dir.path(),
        "t.txt",
        "\u{feff}one\r\nmore\r\n\r\n\r\ntwo\n\n  \nthree".as_bytes(),
    );
    let (found, _, _) = read(&path, DataOptions::default());
    assert_eq!(
        found.iter().map(|d| d.text.as_str()).collect::<Vec<_>>(),
        ["one\nmore", "two", "three"]
    );
    let (found, _, counts) = read(
        &path,
        DataOptions {
            skip: 2,
            ..Default::default()
        },
    );
    assert_eq!((found.len(), found[0].item, counts.skipped), (1, 2, 2));
}

#[test]
fn a_line_that_cannot_be_used_makes_its_paragraph_one_bad_row() {
    let dir = tempfile::tempdir().unwrap();
    let long = [b"x".repeat(300), b"\n".to_vec()].concat();
    let bytes = [
        b"one\n\ntwo\ncaf\xe9\nmore\n\xff\n\nthree\n\nfour\n".as_slice(),
        &long,
        b"more\n\n\xff\nlast",
    ]
    .concat();
    let options = DataOptions {
        max_line_bytes: 200,
        max_bad_rows: 1.0,
        ..Default::default()
    };
    let (found, error, counts) = read(&file(dir.path(), "t.txt", &bytes), options);
    assert!(error.is_none(), "{error:?}");
    let texts: Vec<&str> = found.iter().map(|d| d.text.as_str()).collect();
    assert_eq!(texts, ["one", "three"]);
    assert_eq!((counts.rows, counts.bad_rows), (5, 3));
    let lines: Vec<u64> = counts.examples.iter().map(|bad| bad.line).collect();
    assert_eq!(lines, [4, 11, 14]);
}

fn shared() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    if !dir.is_dir() {
        eprintln!("skipped: ../shared not present");
        return None;
    }
    Some(dir)
}

#[test]
fn real_shards_read_whole_and_pack_by_both_policies() {
    let Some(shared) = shared() else { return };
    let files: Vec<PathBuf> = ["00000", "00001"]
        .iter()
        .map(|n| shared.join(format!("data/text/{n}_books.jsonl.gz")))
        .collect();
    let open = || Documents::open(&files, DataOptions::default()).unwrap();
    let documents: Vec<Document> = open().map(Result::unwrap).collect();
    assert_eq!(documents.len(), 498); // rows of both shards, all members
    let codec = TextCodec::load(&shared.join("golden/llama/checkpoint")).unwrap();
    let context = 64;

    let truncated: Vec<TokenRow> = Packer::new(open(), &codec, PackPolicy::Truncate, context)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(truncated.len(), 498);
    for (row, document) in truncated.iter().zip(&documents) {
        let whole = codec.encode(&document.text, true).unwrap();
        assert_eq!(
            row.ids,
            whole[..whole.len().min(context)],
            "document {}",
            document.item
        );
    }

    let ids = PackIds::of(&codec).unwrap();
    let context = 2048;
    let packed: Vec<TokenRow> = Packer::new(open(), &codec, PackPolicy::Pack, context)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(packed.iter().map(|row| row.documents).sum::<u64>(), 498);
    let mut texts = documents.iter().map(|document| document.text.as_str());
    let mut crossed = 0;
    // What is left of a document that no row could hold.
    let mut rest: Vec<u32> = Vec::new();
    for row in &packed {
        let mut expected = vec![ids.begin];
        let goes_on = !rest.is_empty();
        expected.extend(rest.drain(..rest.len().min(context - 1)));
        for (i, text) in texts.by_ref().take(row.documents as usize).enumerate() {
            expected.extend((i > 0 || goes_on).then_some(ids.end));
            let mut own = codec.encode(text, false).unwrap();
            if own.len() >= context {
                rest = own.split_off(own.len().min(context.saturating_sub(expected.len())));
            }
            expected.extend(own);
        }
        expected.truncate(context);
        assert_eq!(row.ids, expected, "row {}", row.item);
        crossed += usize::from(row.ids.contains(&ids.end));
    }
    assert!(rest.is_empty());
    assert!(
        crossed > packed.len() / 2,
        "{crossed} of {} rows hold several documents",
        packed.len()
    );

    let batch = TokenBatch::collate(&truncated[..3], 7);
    assert_eq!(
        (batch.rows, batch.ids.len(), batch.n_valid()),
        (
            3,
            3 * batch.len,
            truncated[..3].iter().map(|r| r.ids.len()).sum()
        )
    );
}
