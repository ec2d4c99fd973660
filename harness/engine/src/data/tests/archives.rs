//! zstd files, names that contradict contents, and lists of files in several formats.

use super::*;

fn zst(text: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(text, 3).unwrap()
}

fn message(error: Option<DataError>) -> String {
    error.map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn several_zstd_frames_and_a_skippable_one_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let text = rows(100);
    let (head, tail) = text.as_bytes().split_at(1234); // in the middle of a row
    let skippable = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    let bytes = [skippable, zst(head), zst(&tail[..tail.len() - 1])].concat();
    let (found, error, counts) = read(
        &file(dir.path(), "a.jsonl.zst", &bytes),
        DataOptions::default(),
    );
    assert!(error.is_none(), "{error:?}");
    assert_eq!(found.len(), 100);
    assert_eq!(found[57].text, "document 57 é");
    assert_eq!(found[57].fields["id"], 57);
    assert_eq!((counts.rows, counts.bad_rows), (100, 0));

    let paragraphs = file(dir.path(), "b.txt.zst", &zst(b"one\nmore\n\ntwo\n"));
    let (found, error, _) = read(&paragraphs, DataOptions::default());
    assert!(error.is_none(), "{error:?}");
    let texts: Vec<&str> = found.iter().map(|d| d.text.as_str()).collect();
    assert_eq!(texts, ["one\nmore", "two"]);
}

#[test]
fn damaged_zstd_names_the_offset() {
    let dir = tempfile::tempdir().unwrap();
    let whole = zst(rows(3000).as_bytes());
    let cut = file(dir.path(), "cut.jsonl.zst", &whole[..whole.len() / 2]);
    let (_, error, _) = read(&cut, DataOptions::default());
    let text = message(error);
    assert!(
        text.contains("zstd: the file ends in the middle")
            && text.contains(&format!("at byte {}", whole.len() / 2)),
        "{text}"
    );
    let garbage = file(
        dir.path(),
        "tail.jsonl.zst",
        &[whole.as_slice(), b"no frame at all"].concat(),
    );
    let (found, error, _) = read(&garbage, DataOptions::default());
    let text = message(error);
    assert_eq!(found.len(), 3000);
    assert!(
        text.contains("zstd: ") && text.contains("damaged"),
        "{text}"
    );

    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(rows(50).as_bytes()).unwrap();
    let mut sealed = encoder.finish().unwrap();
    let last = sealed.len() - 1;
    sealed[last] ^= 1;
    let (_, error, _) = read(
        &file(dir.path(), "sum.jsonl.zst", &sealed),
        DataOptions::default(),
    );
    let text = message(error);
    assert!(text.contains("checksum"), "{text}");
}

#[test]
fn a_zstd_window_above_128_mib_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    // Magic, a descriptor without content size, a window of 2^(10 + exponent) bytes, one raw block
    // of one byte.
    let frame = |exponent: u8| {
        let block = [3 | 1 << 3, 0, 0]; // last block, run-length type, one byte
        [
            &[0x28, 0xb5, 0x2f, 0xfd, 0, exponent << 3][..],
            &block,
            b"\n",
        ]
        .concat()
    };
    let refused = file(dir.path(), "w.jsonl.zst", &frame(18));
    let text = message(read(&refused, DataOptions::default()).1);
    assert!(text.contains("a window of more than 128 MiB"), "{text}");
    let small = file(dir.path(), "s.txt.zst", &frame(10));
    assert_eq!(message(read(&small, DataOptions::default()).1), "");
}

#[test]
fn a_zstd_bomb_stops_early() {
    let dir = tempfile::tempdir().unwrap();
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    let block = vec![b'a'; 1 << 20];
    for _ in 0..80 {
        encoder.write_all(&block).unwrap();
    }
    let path = file(dir.path(), "bomb.jsonl.zst", &encoder.finish().unwrap());
    let options = DataOptions {
        max_line_bytes: 1 << 20,
        max_bad_rows: 1.0,
        ..Default::default()
    };
    let text = message(read(&path, options).1);
    assert!(text.contains("decompression bomb"), "{text}");
}

#[test]
fn a_name_that_contradicts_the_contents_is_an_error_that_says_both() {
    let dir = tempfile::tempdir().unwrap();
    let text = rows(2);
    let cases: [(&str, Vec<u8>, [&str; 2]); 6] = [
        (
            "a.jsonl",
            zst(text.as_bytes()),
            ["uncompressed jsonl", "a zstd archive"],
        ),
        (
            "a.txt",
            gz(text.as_bytes()),
            ["uncompressed text", "a gzip archive"],
        ),
        (
            "a.jsonl.zst",
            gz(text.as_bytes()),
            ["zstd", "a gzip archive"],
        ),
        (
            "a.jsonl.gz",
            text.clone().into_bytes(),
            ["gzip", "neither gzip"],
        ),
        (
            "a.parquet",
            text.clone().into_bytes(),
            ["parquet", "neither gzip"],
        ),
        ("b.jsonl.gz", Vec::new(), ["gzip", "an empty file"]),
    ];
    for (name, bytes, [promised, found]) in cases {
        let said = message(read(&file(dir.path(), name, &bytes), DataOptions::default()).1);
        assert!(
            said.contains(&format!("its name promises {promised}"))
                && said.contains(&format!("those of {found}")),
            "{name}: {said}"
        );
    }
    let zip = file(dir.path(), "a.zip", b"PK\x03\x04rest");
    let said = message(read(&zip, DataOptions::default()).1);
    assert!(said.contains("a zip archive is not read here"), "{said}");
    // A name that promises nothing is read as what its bytes say.
    let (found, error, _) = read(
        &file(dir.path(), "shard", &zst(text.as_bytes())),
        DataOptions::default(),
    );
    assert_eq!((found.len(), message(error)), (2, String::new()));
}

#[test]
fn files_of_several_formats_make_one_stream() {
    let dir = tempfile::tempdir().unwrap();
    let files = [
        file(dir.path(), "a.jsonl", rows(3).as_bytes()),
        file(dir.path(), "b.jsonl.gz", &gz(rows(3).as_bytes())),
        file(dir.path(), "c.jsonl.zst", &zst(rows(3).as_bytes())),
        file(dir.path(), "d.txt", b"one\n\ntwo\n"),
        parquet::written(dir.path(), "e.parquet", &[Some("x"), Some(""), Some("y")]),
    ];
    let mut documents = Documents::open(&files, DataOptions::default()).unwrap();
    let found: Vec<Document> = (&mut documents).map(Result::unwrap).collect();
    let texts: Vec<&str> = found.iter().map(|d| d.text.as_str()).collect();
    assert_eq!(
        texts[..4],
        [
            "document 0 é",
            "document 1 é",
            "document 2 é",
            "document 0 é"
        ]
    );
    assert_eq!(texts[9..], ["one", "two", "x", "y"]);
    assert!(found.iter().enumerate().all(|(i, d)| d.item == i as u64));
    let counts = documents.counts();
    assert_eq!((counts.rows, counts.empty, counts.documents), (14, 1, 13));
}

#[test]
fn a_real_shard_reads_the_same_from_zstd_and_parquet() {
    let Some(shared) = shared() else { return };
    let gzipped = shared.join("data/text/00000_books.jsonl.gz");
    let (found, error, _) = read(&gzipped, DataOptions::default());
    assert!(error.is_none(), "{error:?}");
    let dir = tempfile::tempdir().unwrap();
    let lines: String = found
        .iter()
        .map(|d| format!("{}\n", serde_json::json!({ "text": d.text })))
        .collect();
    let texts: Vec<Option<&str>> = found.iter().map(|d| Some(d.text.as_str())).collect();
    for path in [
        file(dir.path(), "a.jsonl.zst", &zst(lines.as_bytes())),
        parquet::written(dir.path(), "a.parquet", &texts),
    ] {
        let (again, error, _) = read(&path, DataOptions::default());
        assert!(error.is_none(), "{error:?}");
        let same = again
            .iter()
            .map(|d| &d.text)
            .eq(found.iter().map(|d| &d.text));
        assert!(same, "{}", path.display());
    }
}
