use std::fs;

use super::*;
use crate::{read_tensors, read_weights};

fn file(header: &str, data: u64) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + data as usize, 0);
    file
}

fn tensor(name: &str, from: u64, to: u64) -> String {
    let n = to.saturating_sub(from) / 4;
    format!(r#""{name}":{{"dtype":"F32","shape":[{n}],"data_offsets":[{from},{to}]}}"#)
}

fn read(bytes: &[u8]) -> Result<Vec<StoredTensor>, HeaderError> {
    read_header(bytes, bytes.len() as u64, Limits::default())
}

fn error(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

#[test]
fn a_sound_header_tells_its_tensors() {
    let (b, a) = (tensor("b", 16, 24), tensor("a", 0, 16));
    let found = read(&file(
        &format!(r#"{{"__metadata__":{{"x":"y"}},{b},{a}}}"#),
        24,
    ))
    .unwrap();
    let told: Vec<_> = found
        .iter()
        .map(|t| (&*t.name, t.numbers(), t.span))
        .collect();
    assert_eq!(told, [("b", 2, (16, 24)), ("a", 4, (0, 16))]);
    assert!(read(&file("{}", 0)).unwrap().is_empty());
}

#[test]
fn nothing_a_header_claims_is_believed() {
    let of = |tensors: &[String], data| error(&file(&format!("{{{}}}", tensors.join(",")), data));
    let a = tensor("a", 0, 16);
    for (text, parts) in [
        (
            of(&[a.clone(), tensor("b", 8, 24)], 24),
            ["`b` overlaps a", "byte 8, expected 16"],
        ),
        (
            of(&[a.clone(), tensor("b", 20, 24)], 24),
            ["`b` leaves a hole after a", "20, expected 16"],
        ),
        (
            of(&[tensor("a", 4, 20)], 20),
            ["a hole after the header", "4, expected 0"],
        ),
        (
            of(std::slice::from_ref(&a), 12),
            ["download incomplete?", "expected 79"],
        ),
        (
            of(std::slice::from_ref(&a), 17),
            ["left over", "expected 79"],
        ),
        (
            of(&[a.clone(), a.clone()], 16),
            ["`a` is there twice", "download it again"],
        ),
        (
            of(&[a.replace("[4]", "[5]")], 16),
            ["`a` of shape [5] in F32", "bytes 0 to 16"],
        ),
        (
            of(&[a.replace("[4]", "[4294967296,4294967296]")], 16),
            ["`a`", "4294967296"],
        ),
        (
            of(&[a.replace("[0,16]", "[16,0]")], 16),
            ["`a`", "bytes 16 to 0"],
        ),
        (
            of(&[a.replace("[0,16]", &format!("[0,{}]", u64::MAX))], 16),
            ["`a`", "does not fill"],
        ),
        (of(&[a.replace("F32", "Q4")], 16), ["`a`", "\"Q4\""]),
        (
            error(&file("[]", 0)),
            ["not a safetensors file", "an object of tensors"],
        ),
        (error(b"1234"), ["download incomplete?", "size 4"]),
        (
            error(&(1_u64 << 62).to_le_bytes()),
            ["header length 4611686018427387904", "limit"],
        ),
        (
            error(&file(&a, 0)[..30]),
            ["download incomplete?", "size 30"],
        ),
    ] {
        for part in parts {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}

#[test]
fn tensors_are_counted_before_they_are_read() {
    let many: Vec<String> = (0..11).map(|i| tensor(&i.to_string(), 0, 0)).collect();
    let bytes = file(&format!("{{{}}}", many.join(",")), 0);
    let limits = Limits {
        tensors: 10,
        ..Limits::default()
    };
    let error = read_header(&*bytes, bytes.len() as u64, limits).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the header names 11 tensors, the limit is 10"
    );
    assert_eq!(read(&bytes).unwrap().len(), 11);
}

#[test]
fn shards_lie_in_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let index = |shard: &str| {
        let text = format!(r#"{{"weight_map":{{"a":"{shard}","b":"{shard}"}}}}"#);
        fs::write(dir.path().join("model.safetensors.index.json"), text).unwrap();
        read_weights(dir.path()).map_err(|error| error.to_string())
    };
    for outside in [
        "../x.safetensors",
        "/x.safetensors",
        "c\\\\x",
        "a/b.safetensors",
    ] {
        assert!(
            index(outside).unwrap_err().contains("outside the folder"),
            "{outside}"
        );
    }
    assert!(
        index("one.safetensors")
            .unwrap_err()
            .contains("(2 tensors), which is missing")
    );
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    write("one.safetensors", &file("{}", 3));
    assert!(index("one.safetensors").unwrap_err().contains("left over"));
    write("one.safetensors", &file("{}", 0));
    index("one.safetensors").unwrap();
    // One file is read without the index.
    write("model.safetensors", b"");
    assert!(index("one.safetensors").unwrap_err().contains("is empty"));
}

/// A size of 0 hid any other, and the reader of the weights would have taken 2^64 - 1 for -1.
#[test]
fn sizes_beside_a_zero_are_sizes() {
    let empty = |shape: &str| {
        let header = format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":[0,0]}}}}"#);
        read(&file(&header, 0)).map(|found| found.len())
    };
    assert_eq!(empty("[0,7]").unwrap(), 1);
    let error = empty("[0,18446744073709551615]").unwrap_err().to_string();
    assert!(
        error.contains("`a` of shape [0, 18446744073709551615]"),
        "{error}"
    );
}

/// Names, formats and shapes went into the message whole: up to 16 MB of it.
#[test]
fn a_message_is_short_however_long_the_header() {
    let long = "x".repeat(1 << 20);
    let a = tensor("a", 0, 4);
    for (header, part) in [
        (tensor(&long, 0, 4), "has a name of 1048576 bytes"),
        (a.replace("F32", &long), "unknown number format"),
        (
            a.replace("[1]", &format!("[{}1]", "1,".repeat(1 << 19))),
            "524289 dimensions",
        ),
        (
            format!("{0},{0}", tensor(&long, 0, 4)),
            "cannot be read: the name `xxx",
        ),
        (
            a.replace("[1]", &format!("\"{long}\"")),
            "cannot be read: invalid type",
        ),
    ] {
        let error = error(&file(&format!("{{{header}}}"), 4));
        assert!(
            error.contains(part) && error.len() < 500,
            "{} bytes",
            error.len()
        );
    }
}

/// The length 640 is written as the bytes with which a pickle begins.
#[test]
fn a_header_of_640_bytes_is_not_taken_for_a_pickle() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let header = format!("{{{}}}", tensor("a", 0, 8));
    fs::write(&path, file(&format!("{header:<640}"), 8)).unwrap();
    assert_eq!(read_tensors(&path).unwrap().len(), 1);
    fs::write(&path, b"\x80\x02}q\0(X\x01\0\0\0au.").unwrap();
    let error = read_tensors(&path).unwrap_err().to_string();
    assert!(error.contains("pickled"), "{error}");
}

#[test]
fn a_header_that_is_no_text_is_refused_where_nothing_of_it_is_kept() {
    let mut bytes = 30u64.to_le_bytes().to_vec();
    bytes.extend(b"{\"__metadata__\":{\"k\":\"a\x9b\xdd\"}}  ");
    let text = error(&bytes);
    assert!(text.contains("no UTF-8"), "{text}");
}
