//! What the bytes of a text file hold: told from its first bytes, and from its name where they say
//! nothing.

use super::json::{Extent, Sequence};

/// How documents lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// One JSON object a line.
    Jsonl,
    /// JSON records that lines do not separate.
    Json(Sequence),
    /// A table with a header line, and what stands between its values.
    Table(u8),
    /// Documents are paragraphs: they end at a blank line.
    Text,
}

/// What a file's name says about its layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LayoutName {
    Jsonl,
    Json,
    Table,
    Text,
}

impl LayoutName {
    /// Of a name in lower case, without the ending of its compression.
    pub fn of(stem: &str) -> Option<Self> {
        let (_, ending) = stem.rsplit_once('.')?;
        match ending {
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "json" => Some(Self::Json),
            "csv" | "tsv" | "tab" => Some(Self::Table),
            "txt" | "text" => Some(Self::Text),
            _ => None,
        }
    }

    /// What it says, where a file that is packed all the same contradicts it.
    pub fn promise(self) -> &'static str {
        match self {
            Self::Jsonl => "uncompressed jsonl",
            Self::Json => "uncompressed json",
            Self::Table => "an uncompressed table",
            Self::Text => "uncompressed text",
        }
    }
}

/// The layout of a file whose text begins with `head` and is wanted from `field`.
///
/// # Errors
/// A JSON value that holds no records, named.
pub(super) fn layout_of(
    name: Option<LayoutName>,
    head: &[u8],
    field: &str,
) -> Result<Layout, String> {
    let text = head.trim_ascii_start();
    let after_bracket = text.get(1..).unwrap_or_default().trim_ascii_start();
    match (text.first(), after_bracket.first()) {
        (Some(b'['), Some(b'{')) => return Ok(Layout::Json(Sequence::Array)),
        (Some(b'['), Some(b']')) if name != Some(LayoutName::Text) => {
            return Ok(Layout::Json(Sequence::Array));
        }
        (Some(b'['), Some(b'"')) if is_list_of_texts(after_bracket) => {
            return Err(NO_RECORDS.replace("{}", "a JSON array of texts"));
        }
        (Some(b'['), _) if name == Some(LayoutName::Json) => {
            return Err(NO_RECORDS.replace("{}", "a JSON array without objects"));
        }
        (Some(b'{'), Some(b'\'')) => {
            return Err(
                "Python's own notation of a dictionary, which is no JSON (hint: write rows with json.dumps)"
                    .to_owned(),
            );
        }
        // Prose in a text file may begin with a brace; an object begins with a name in quotes.
        (Some(b'{'), next) if name != Some(LayoutName::Text) || next == Some(&b'"') => {
            return Ok(of_objects(text));
        }
        _ => {}
    }
    match name {
        Some(LayoutName::Jsonl) => Ok(Layout::Jsonl),
        Some(LayoutName::Json) if !text.is_empty() => {
            Err("its name says JSON, and it begins with neither { nor [".to_owned())
        }
        Some(LayoutName::Table) => Ok(Layout::Table(delimiter(head, field))),
        _ => Ok(match table_by_content(head, field) {
            Some(delimiter) => Layout::Table(delimiter),
            None => Layout::Text,
        }),
    }
}

const NO_RECORDS: &str =
    "{} is not read (hint: write objects, such as [{\"text\": \"…\"}, …], or one of them a line)";

/// Whether the first text of a list is followed as texts of lists are.
fn is_list_of_texts(list: &[u8]) -> bool {
    let mut extent = Extent::default();
    let end = list.iter().position(|byte| extent.step(*byte));
    let next = end.and_then(|end| list[end + 1..].trim_ascii_start().first());
    matches!(next, Some(b',' | b']'))
}

/// Objects of one line each, or objects that go on over lines. A string never goes on over lines,
/// so that a line which ends in one is a damaged line.
fn of_objects(text: &[u8]) -> Layout {
    let mut extent = Extent::default();
    for byte in text {
        if *byte == b'\n' {
            return match extent.is_in_string() {
                true => Layout::Jsonl,
                false => Layout::Json(Sequence::Objects),
            };
        }
        if extent.step(*byte) {
            break;
        }
    }
    Layout::Jsonl
}

fn first_line(head: &[u8]) -> &[u8] {
    let end = head.iter().position(|byte| *byte == b'\n');
    let line = &head[..end.unwrap_or(head.len())];
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The names of a header line.
fn names(line: &[u8], delimiter: u8) -> Vec<&[u8]> {
    let unquoted = |name: &'_ [u8]| -> bool { name.len() >= 2 && name.starts_with(b"\"") };
    line.split(|byte| *byte == delimiter)
        .map(|name| match unquoted(name) && name.ends_with(b"\"") {
            true => &name[1..name.len() - 1],
            false => name,
        })
        .collect()
}

/// What stands between the values of a table: what the header has the field between, else what
/// there is most of.
fn delimiter(head: &[u8], field: &str) -> u8 {
    let line = first_line(head);
    let has_field = |delimiter: &u8| names(line, *delimiter).contains(&field.as_bytes());
    let all = [b',', b'\t', b';'];
    let most = |delimiter: &u8| line.iter().filter(|byte| *byte == delimiter).count();
    let best = all.into_iter().rev().max_by_key(most);
    // A table of one column has none between.
    (all.into_iter().find(|d| most(d) > 0 && has_field(d)))
        .or(best)
        .unwrap_or(b',')
}

/// What stands between the values of a table whose name does not say that it is one: every name of
/// its header is a word, and several lines have as many values. Prose has blanks after its commas.
fn table_by_content(head: &[u8], field: &str) -> Option<u8> {
    let is_word = |name: &&[u8]| {
        let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
        name.first()
            .is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
            && name.iter().all(is_letter)
    };
    let mut lines = head
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    let (_, second) = (lines.next()?, lines.next()?);
    [b',', b'\t', b';'].into_iter().find(|delimiter| {
        let header = names(first_line(head), *delimiter);
        let is_header = header.len() > 1 && header.iter().all(is_word);
        let is_known = header.contains(&field.as_bytes()) || *delimiter == b'\t';
        let values = second.iter().filter(|byte| *byte == delimiter).count() + 1;
        let is_like_prose = second.windows(2).any(|pair| pair == [*delimiter, b' ']);
        is_header && (is_known && values > 1 || values == header.len() && !is_like_prose)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: Option<LayoutName>, head: &str) -> Result<Layout, String> {
        layout_of(name, head.as_bytes(), "text")
    }

    #[test]
    fn the_bytes_decide_before_the_name() {
        let (jsonl, txt) = (Some(LayoutName::Jsonl), Some(LayoutName::Text));
        let array = Ok(Layout::Json(Sequence::Array));
        let objects = Ok(Layout::Json(Sequence::Objects));
        for name in [None, jsonl, txt, Some(LayoutName::Json)] {
            assert_eq!(of(name, "[{\"text\": 1}]"), array);
            assert_eq!(of(name, "\n [\n  {\n"), array);
            assert_eq!(of(name, "{\"text\": \"a\"}\n{\"text\""), Ok(Layout::Jsonl));
            assert_eq!(of(name, "{\n \"text\": \"a\"\n}\n"), objects);
            assert_eq!(
                of(name, "{\"text\": \"cut\n{\"text\": 1}"),
                Ok(Layout::Jsonl)
            );
            assert!(
                of(name, "[\"a\", \"b\"]")
                    .unwrap_err()
                    .contains("array of texts")
            );
            assert!(
                of(name, "{'text': 'a'}")
                    .unwrap_err()
                    .contains("json.dumps")
            );
        }
        assert_eq!(of(jsonl, "no json"), Ok(Layout::Jsonl));
        assert!(
            of(Some(LayoutName::Json), "no json")
                .unwrap_err()
                .contains("says JSON")
        );
        assert_eq!(of(None, ""), Ok(Layout::Text));
    }

    #[test]
    fn prose_stays_prose() {
        for prose in [
            "[1] Introduction\n\nIt rained.",
            "[\"Hello\" he said] and went.\n",
            "One, two, text, four\nand, so, on, again\n",
            "a,b\nOnce upon a time, there was a baker.\nHe\tbaked.",
            "{curly} text\nmore",
            "text\nmore",
            "A title\n\nOnce, and again; so on.\n",
        ] {
            assert_eq!(
                of(Some(LayoutName::Text), prose),
                Ok(Layout::Text),
                "{prose}"
            );
        }
    }

    #[test]
    fn tables_are_told_by_their_header() {
        let table = |delimiter| Ok(Layout::Table(delimiter));
        let csv = Some(LayoutName::Table);
        assert_eq!(of(csv, "text\r\none"), table(b','));
        assert_eq!(of(csv, "id;text\n1;\"a, b, c\"\n"), table(b';'));
        assert_eq!(of(csv, "\"id\"\t\"text\"\n1\ta\n"), table(b'\t'));
        for name in [None, Some(LayoutName::Text)] {
            assert_eq!(of(name, "id,text\n0,men, and more\n"), table(b','));
            assert_eq!(of(name, "id\tcontent\n0\tmen\n"), table(b'\t'));
            assert_eq!(of(name, "id,content,url\n0,men,x\n"), table(b','));
        }
    }
}
