//! Files that are no text to be read here, told by their first bytes.

use harness_weights::LookAlike;

/// A beginning, where it stands, what it is the beginning of, and what to do with such a file.
type Signature = (&'static [u8], usize, &'static str, &'static str);

const UNPACK: &str = "unpack it; .gz and .zst are read as they are";
const EXPORT: &str = "write its texts as jsonl or parquet";
const ARROW: &str =
    "write it as parquet: `datasets.load_from_disk(DIR).to_parquet(\"text.parquet\")`";
const TO_UTF8: &str = "convert it: `iconv -f UTF-16 -t UTF-8 FILE > NEW`";
const EXTRACT: &str = "extract its text";
const MARKUP: &str = "extract its text, or fetch the file itself";
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
    if let Some(look_alike) = LookAlike::of(head) {
        return Some(match look_alike {
            LookAlike::LfsPointer => (
                "a Git LFS pointer, in place of the file",
                "fetch the file: `git lfs pull`",
            ),
            LookAlike::WebPage => ("a web page (HTML)", MARKUP),
            LookAlike::Xml => ("an XML document", MARKUP),
        });
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
