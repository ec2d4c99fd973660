//! Files that are no text to be read here, told by their first bytes.

/// A beginning, where it stands, what it is the beginning of, and what to do with such a file.
type Signature = (&'static [u8], usize, &'static str, &'static str);

const UNPACK: &str = "unpack it; .gz and .zst are read as they are";
const EXPORT: &str = "write its texts as jsonl or parquet";
const ARROW: &str =
    "write it as parquet: `datasets.load_from_disk(DIR).to_parquet(\"text.parquet\")`";
const TO_UTF8: &str = "convert it: `iconv -f UTF-16 -t UTF-8 FILE > NEW`";
const EXTRACT: &str = "extract its text";
const WEIGHTS: &str = "text is read here; weights belong to --model or --saes";

const SIGNATURES: &[Signature] = &[
    (b"PARE", 0, "an encrypted parquet file", EXPORT),
    (b"PK\x03\x04", 0, "a zip archive", UNPACK),
    (b"PK\x05\x06", 0, "a zip archive", UNPACK),
    (b"\xfd7zXZ", 0, "an xz archive", UNPACK),
    (b"BZh", 0, "a bzip2 archive", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", 0, "a 7z archive", UNPACK),
    (b"Rar!\x1a\x07", 0, "a rar archive", UNPACK),
    (b"\x04\x22\x4d\x18", 0, "an lz4 archive", UNPACK),
    (b"\xff\x06\x00\x00sNaPpY", 0, "a snappy archive", UNPACK),
    (
        b"ustar",
        257,
        "a tar archive",
        "unpack it, and give its files or their folder",
    ),
    (b"ARROW1", 0, "an Arrow file", ARROW),
    (b"FEA1", 0, "an Arrow (Feather) file", ARROW),
    (b"\xff\xff\xff\xff", 0, "an Arrow stream", ARROW),
    (b"\x89HDF\r\n\x1a\n", 0, "an HDF5 file", EXPORT),
    (b"SQLite format 3\0", 0, "an SQLite database", EXPORT),
    (b"ORC", 0, "an ORC file", EXPORT),
    (b"Obj\x01", 0, "an Avro file", EXPORT),
    (b"\x93NUMPY", 0, "a numpy array", EXPORT),
    (b"GGUF", 0, "a GGUF model", WEIGHTS),
    (b"%PDF-", 0, "a PDF document", EXTRACT),
    (b"{\\rtf", 0, "an RTF document", EXTRACT),
    (
        b"\xd0\xcf\x11\xe0",
        0,
        "a document of an old Office",
        EXTRACT,
    ),
    (
        b"version https://git-lfs.github.com/spec/",
        0,
        "a Git LFS pointer, in place of the file",
        "fetch the file: `git lfs pull`",
    ),
];

/// Beginnings of documents of markup, in lower case.
const MARKUP: &[(&str, &str)] = &[
    ("<!doctype html", "a web page (HTML)"),
    ("<html", "a web page (HTML)"),
    ("<?xml", "an XML document"),
];

/// What a file with these first bytes is, where it is no text, and what to do with it.
pub(super) fn foreign(head: &[u8]) -> Option<(&'static str, &'static str)> {
    let is_of = |(magic, at, ..): &&Signature| {
        head.get(*at..).is_some_and(|rest| rest.starts_with(magic))
            && match *magic {
                // `BZh` alone may begin a text; a level follows it in an archive.
                b"BZh" => head.get(3).is_some_and(u8::is_ascii_digit),
                // So may any short word; files of these formats hold zeros, which no text has.
                word if word.len() <= 4 && word.iter().all(u8::is_ascii_alphanumeric) => {
                    head.contains(&0)
                }
                _ => true,
            }
    };
    if let Some((_, _, name, hint)) = SIGNATURES.iter().find(is_of) {
        return Some((name, hint));
    }
    let text = head.trim_ascii_start();
    let beginning = String::from_utf8_lossy(&text[..text.len().min(32)]).to_ascii_lowercase();
    if let Some((_, name)) = MARKUP.iter().find(|(tag, _)| beginning.starts_with(tag)) {
        return Some((name, "extract its text, or fetch the file itself"));
    }
    encoding(head).or_else(|| is_binary(head).then_some(("binary data", EXPORT)))
}

/// Encodings of more than one byte a letter, with a byte order mark or told by where zeros stand.
fn encoding(head: &[u8]) -> Option<(&'static str, &'static str)> {
    match head {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => {
            return Some((
                "UTF-32 text",
                "convert it: `iconv -f UTF-32 -t UTF-8 FILE > NEW`",
            ));
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Some(("UTF-16 text", TO_UTF8)),
        _ => {}
    }
    // Of western text every other byte is zero; ideographs come with line ends that have one.
    let pairs = head[..head.len().min(4096)].chunks_exact(2);
    let n = pairs.len();
    let (first, second) = pairs.fold((0, 0), |(first, second), pair| {
        (
            first + usize::from(pair[0] == 0),
            second + usize::from(pair[1] == 0),
        )
    });
    let (few, many) = (first.min(second), first.max(second));
    (n >= 2 && many * 5 >= n * 2 && few * 20 <= n).then_some((
        "UTF-16 text without a byte order mark",
        if second > first {
            "convert it: `iconv -f UTF-16LE -t UTF-8 FILE > NEW`"
        } else {
            "convert it: `iconv -f UTF-16BE -t UTF-8 FILE > NEW`"
        },
    ))
}

/// Zeros, more than a stray one, or zeros among bytes that are no UTF-8.
fn is_binary(head: &[u8]) -> bool {
    let zeros = head.iter().filter(|byte| **byte == 0).count();
    let is_utf8 = match std::str::from_utf8(head) {
        Ok(_) => true,
        // The last letter may be cut.
        Err(error) => error.error_len().is_none(),
    };
    zeros * 100 > head.len() || zeros > 0 && !is_utf8
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
