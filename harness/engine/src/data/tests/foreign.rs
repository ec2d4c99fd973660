use crate::data::foreign::foreign;

fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(order).collect()
}

#[test]
fn encodings_are_told_with_and_without_a_mark() {
    let text = "{\"text\": \"caf\u{e9} and more\"}\r\n";
    for order in [u16::to_le_bytes as fn(u16) -> [u8; 2], u16::to_be_bytes] {
        let bare = utf16(text, order);
        let marked = utf16(&format!("\u{feff}{text}"), order);
        assert_eq!(
            foreign(&bare).unwrap().0,
            "UTF-16 text without a byte order mark"
        );
        assert_eq!(foreign(&marked).unwrap().0, "UTF-16 text");
    }
    assert_eq!(foreign(text.as_bytes()), None);
    assert_eq!(
        foreign(b"one stray \0 in a long text, ".as_slice())
            .unwrap()
            .0,
        "binary data"
    );
    let long = [b"a\0".as_slice(), "words \u{e9} ".repeat(50).as_bytes()].concat();
    assert_eq!(foreign(&long), None);
    assert_eq!(foreign(b"caf\xe9 \0").unwrap().0, "binary data");
}

#[test]
fn formats_are_named() {
    let tar = [&[b'a'; 257][..], b"ustar\x0000"].concat();
    for (head, name) in [
        (b"ARROW1\0\0".as_slice(), "an Arrow file"),
        (b"\xff\xff\xff\xff\x78\0\0\0", "an Arrow stream"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"SQLite format 3\0\x10", "an SQLite database"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"\n <!DOCTYPE HTML><html>", "a web page (HTML)"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid",
            "a Git LFS pointer, in place of the file",
        ),
        (&tar, "a tar archive"),
        (b"BZh9\x31", "a bzip2 archive"),
        (b"PARE\x2c\0\0\0", "an encrypted parquet file"),
        (b"GGUF\x03\0\0\0", "a GGUF model"),
        (b"FEA1\0\0\0\0", "an Arrow (Feather) file"),
        (b"ORC\x11\0\0", "an ORC file"),
    ] {
        assert_eq!(foreign(head).unwrap().0, name);
    }
    for text in [
        "BZhmed",
        "ORCs came",
        "PARENT_ID,TEXT\n1,a\n",
        "GGUF is a format of models",
        "FEA1,FEA2\n",
        "PKs",
        "<htm",
        "7zip",
        "version 2",
    ] {
        assert_eq!(foreign(text.as_bytes()), None, "{text}");
    }
}
