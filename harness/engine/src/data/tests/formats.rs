//! Records in JSON arrays, objects over several lines, tables, and what is no text at all.

use super::*;

const TEXTS: [&str; 3] = ["one, \"quoted\"", "two\nlines", "three é"];

fn texts(path: &Path) -> Result<Vec<String>, String> {
    let (found, error, _) = read(path, DataOptions::default());
    match error {
        Some(error) => Err(error.to_string()),
        None => Ok(found.into_iter().map(|document| document.text).collect()),
    }
}

fn records() -> serde_json::Value {
    let rows = TEXTS.iter().enumerate();
    rows.map(|(id, text)| serde_json::json!({"id": id, "text": text, "tags": ["]", "}\""]}))
        .collect()
}

#[test]
fn json_records_are_read_however_they_are_spread_over_lines() {
    let dir = tempfile::tempdir().unwrap();
    let array = records();
    let pretty = serde_json::to_string_pretty(&array).unwrap();
    let objects: String = (array.as_array().unwrap().iter())
        .map(|row| serde_json::to_string_pretty(row).unwrap() + "\n")
        .collect();
    let loose = pretty.replace("},\n", "}\n\n ,\r\n");
    for (name, text) in [
        ("a.json", array.to_string()),
        ("a.jsonl", array.to_string()),
        ("b.json", pretty.clone()),
        ("b.txt", format!("\u{feff}{pretty}\n")),
        ("b", loose),
        ("c.json", objects.clone()),
        ("c.jsonl", objects),
    ] {
        assert_eq!(
            texts(&file(dir.path(), name, text.as_bytes())).unwrap(),
            TEXTS,
            "{name}"
        );
        let packed = file(dir.path(), &format!("{name}.gz"), &gz(text.as_bytes()));
        assert_eq!(texts(&packed).unwrap(), TEXTS, "{name}.gz");
    }
    // Lines of JSON under a name of text are records and no prose.
    let lines = file(dir.path(), "d.txt", rows(2).as_bytes());
    assert_eq!(texts(&lines).unwrap(), ["document 0 é", "document 1 é"]);
    assert_eq!(
        texts(&file(dir.path(), "e.json", b" [ ] \n")).unwrap(),
        [""; 0]
    );
}

#[test]
fn a_damaged_array_says_after_which_record() {
    let dir = tempfile::tempdir().unwrap();
    for (text, part) in [
        (
            "[{\"text\": \"a\"}, {\"text\": \"b\"",
            "after record 2: the file ends before its JSON",
        ),
        (
            "[{\"text\": \"a\"}",
            "after record 1: the file ends before its JSON",
        ),
        (
            "[{\"text\": \"a\"} {\"text\": \"b\"}]",
            "after record 1: no comma follows",
        ),
        (
            "[{\"text\": \"a\"}, ]",
            "after record 1: a comma has no record after it",
        ),
        (
            "[{\"text\": \"a\"}] tail",
            "after record 1: text follows the end",
        ),
        (
            "{\n\"text\": \"a\"}\n[1]",
            "JSON objects: after record 1: what follows is no JSON object",
        ),
    ] {
        let said = texts(&file(dir.path(), "a.json", text.as_bytes())).unwrap_err();
        assert!(
            said.contains("a.json") && said.contains(part),
            "{text}: {said}"
        );
    }
}

#[test]
fn rows_of_an_array_are_bad_one_by_one_and_counted_from_1() {
    let dir = tempfile::tempdir().unwrap();
    let long = format!("{{\"text\": \"{}\"}}", "x".repeat(300));
    let text = format!("[{{\"text\": \"a\"}}, 3, {{\"text\": oops}}, {long}, {{\"text\": \"b\"}}]");
    let options = DataOptions {
        max_bad_rows: 0.9,
        max_line_bytes: 200,
        ..Default::default()
    };
    let (found, error, counts) = read(&file(dir.path(), "a.json", text.as_bytes()), options);
    assert!(error.is_none(), "{error:?}");
    let found: Vec<&str> = found
        .iter()
        .map(|document| document.text.as_str())
        .collect();
    assert_eq!(
        (found, counts.rows, counts.bad_rows),
        (vec!["a", "b"], 5, 3)
    );
    let said: Vec<String> = counts
        .examples
        .iter()
        .map(|bad| format!("{}: {}", bad.line, bad.reason))
        .collect();
    assert_eq!(
        said,
        [
            "2: a JSON value that is no object",
            "3: not JSON at column 10",
            "4: a line of 312 bytes, the limit is 200"
        ]
    );
}

#[test]
fn numbers_of_python_in_other_fields_do_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let lines = "{\"text\": \"NaN is a word\", \"loss\": NaN, \"x\": [-Infinity, Infinity]}\n{\"loss\": NaN, \"text\": \"b\"}\n";
    let path = file(dir.path(), "a.jsonl", lines.as_bytes());
    assert_eq!(texts(&path).unwrap(), ["NaN is a word", "b"]);
    let array = format!("[{}]", lines.trim().replace('\n', ","));
    assert_eq!(
        texts(&file(dir.path(), "a.json", array.as_bytes())).unwrap(),
        ["NaN is a word", "b"]
    );
    let said = texts(&file(dir.path(), "b.jsonl", b"{\"text\": NaN}\n")).unwrap_err();
    assert!(said.contains("field \"text\" is null, not text"), "{said}");
}

#[test]
fn tables_are_read_with_their_quotation() {
    let dir = tempfile::tempdir().unwrap();
    let table = |delimiter: &str| {
        let line = |id: &str, text: &str| format!("{id}{delimiter}{text}\r\n");
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let rows: String = (TEXTS.iter().enumerate())
            .map(|(id, text)| line(&id.to_string(), &quoted(text)))
            .collect();
        line("id", "text") + &rows
    };
    for (name, delimiter) in [
        ("a.csv", ","),
        ("b.csv", ";"),
        ("c.txt", ","),
        ("d.csv.gz", ","),
    ] {
        let bytes = match name.ends_with(".gz") {
            true => gz(table(delimiter).as_bytes()),
            false => table(delimiter).into_bytes(),
        };
        assert_eq!(
            texts(&file(dir.path(), name, &bytes)).unwrap(),
            TEXTS,
            "{name}"
        );
    }
    let one = file(dir.path(), "one.csv", b"text\nfirst\n\"\"\nlast");
    assert_eq!(texts(&one).unwrap(), ["first", "last"]);
    let tabs = file(dir.path(), "a.tsv", b"id\ttext\n0\tone, two\n1\tthree\n");
    assert_eq!(texts(&tabs).unwrap(), ["one, two", "three"]);
    for (name, bytes, part) in [
        (
            "a.csv",
            "id,content\n0,a\n",
            "CSV: no column \"text\"; its first line names [\"id\", \"content\"]",
        ),
        ("a.csv", "id,content\n0,a\n", "--set text_field=NAME"),
        ("b.tsv", "content\tid\na\t0\n", "TSV: no column \"text\""),
        (
            "c.csv",
            "id,text\n0,a\n1,b,c\n",
            "c.csv:3: 3 values, the table has 2 columns",
        ),
        // Without quotation these are two rows; with it, one.
        (
            "d.tsv",
            "id\ttext\n0\t\"a\n1\tb\"\n",
            "d.tsv:2: a value begins with a quotation mark and goes on for 2 lines",
        ),
    ] {
        let said = texts(&file(dir.path(), name, bytes.as_bytes())).unwrap_err();
        assert!(said.contains(part), "{name}: {said}");
    }
    // Every line that a quotation mark took in is a bad row, whatever columns that made.
    for (bytes, good, bad) in [
        ("id\ttext\n0\t\"a\n1\tb\n2\tc\n3\td\"\n4\te\n", 1, 4),
        ("id\ttext\n0\t\"a\n1\tb\"\tc\n2\td\n", 1, 2),
        ("id\ttext\n0\ta\n1\t\"b\n2\tc\n", 1, 2),
        ("id\ttext\n0\ta\n1\t\"b\n2\tc", 1, 2),
        ("id\ttext\n0\ta\n\n1\tb\n", 2, 0),
    ] {
        let options = DataOptions {
            max_bad_rows: 1.0,
            ..Default::default()
        };
        let path = file(dir.path(), "e.tsv", bytes.as_bytes());
        let (found, error, counts) = read(&path, options);
        assert!(error.is_none(), "{bytes}: {error:?}");
        assert_eq!((found.len(), counts.bad_rows), (good, bad), "{bytes}");
        let lines: Vec<u64> = counts.examples.iter().map(|bad| bad.line).collect();
        let first = lines.first().copied().unwrap_or_default();
        assert_eq!(lines, Vec::from_iter(first..first + bad), "{bytes}");
    }
    let open = format!("id,text\n0,\"{}", "word ".repeat(40_000));
    let options = DataOptions {
        max_line_bytes: 1000,
        ..Default::default()
    };
    let (_, error, _) = read(&file(dir.path(), "open.csv", open.as_bytes()), options);
    let said = error.unwrap().to_string();
    assert!(
        said.contains("open.csv") && said.contains("quotation mark left open"),
        "{said}"
    );
}

#[test]
fn what_is_no_text_is_refused_by_name_and_packed_too() {
    let dir = tempfile::tempdir().unwrap();
    let utf16: Vec<u8> = rows(3).encode_utf16().flat_map(u16::to_le_bytes).collect();
    let tar = [&[b'a'; 257][..], b"ustar\x0000", &[0; 200]].concat();
    let cases: [(&str, &[u8], &str, &str); 8] = [
        ("a.jsonl", &utf16, "UTF-16 text", "iconv -f UTF-16LE"),
        (
            "a.jsonl",
            b"\xff\xfe{\0\"\0",
            "UTF-16 text",
            "iconv -f UTF-16 ",
        ),
        (
            "a.arrow",
            b"\xff\xff\xff\xff\x28\x01\0\0",
            "an Arrow stream",
            "to_parquet",
        ),
        ("a.arrow", b"ARROW1\0\0", "an Arrow file", "to_parquet"),
        ("a.txt", &tar, "a tar archive", "unpack it"),
        (
            "a.db",
            b"SQLite format 3\0",
            "an SQLite database",
            "jsonl or parquet",
        ),
        (
            "a.txt",
            b"%PDF-1.5\n%\xd0\xd4",
            "a PDF document",
            "extract its text",
        ),
        (
            "a.jsonl",
            b"version https://git-lfs.github.com/spec/v1\n",
            "a Git LFS pointer",
            "git lfs pull",
        ),
    ];
    for (name, bytes, what, hint) in cases {
        let packed = format!("{name}.gz");
        for (name, bytes) in [(name, bytes.to_vec()), (packed.as_str(), gz(bytes))] {
            let said = texts(&file(dir.path(), name, &bytes)).unwrap_err();
            assert!(said.contains(what) && said.contains(hint), "{name}: {said}");
        }
    }
}

#[test]
fn the_hint_of_a_bad_row_is_about_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    for (line, parts) in [
        (
            &b"{\"content\": \"a\", \"n\": 3}"[..],
            [
                "no field \"text\"; it has [\"content\", \"n\"]",
                "--set text_field=content",
            ],
        ),
        (
            b"{\"a\": \"x\", \"b\": \"y\"}",
            ["it has [\"a\", \"b\"]", "--set text_field=NAME"],
        ),
        (
            b"{\"version\": 1, \"data\": [{\"text\": \"a\"}]}",
            ["it has [\"version\", \"data\"]", "jq -c '.[\"data\"][]'"],
        ),
        (
            b"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}",
            ["it has [\"messages\"]", "--set text_field=NAME"],
        ),
        (
            b"{\"text\": [\"a\", \"b\"]}",
            ["field \"text\" is a list", "join its list"],
        ),
        (
            b"{\"text\": null}",
            ["field \"text\" is null", "mend the rows"],
        ),
        (
            b"{\"text\": {\"0\": \"a\"}}",
            ["is an object", "lines=True"],
        ),
        (
            b"{\"text\": \"caf\xe9 and\"}",
            ["not UTF-8 at byte 13", "Latin-1"],
        ),
    ] {
        let said = texts(&file(dir.path(), "a.jsonl", line)).unwrap_err();
        assert!(
            parts.iter().all(|part| said.contains(part)),
            "{parts:?}: {said}"
        );
        assert!(said.contains("--max-bad-rows"), "{said}");
    }
}
