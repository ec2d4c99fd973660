//! Documents longer than a row: packing uses them whole, truncating says how much it keeps.

use super::*;

const CONTEXT: usize = 16;

fn codec() -> TextCodec {
    let zoo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benchmarks/zoo/qwen");
    TextCodec::load(&zoo).unwrap()
}

fn documents(dir: &Path, texts: &[String]) -> Documents {
    let lines: String = (texts.iter())
        .map(|text| format!("{}\n", serde_json::json!({ "text": text })))
        .collect();
    let path = file(dir, "long.jsonl", lines.as_bytes());
    Documents::open(&[path], DataOptions::default()).unwrap()
}

/// A text of about this many tokens.
fn text(words: usize) -> String {
    let nouns = ["bread", "rain", "boat", "garden", "letter"];
    let all: Vec<&str> = (0..words).map(|i| nouns[i * 7 % 5]).collect();
    all.join(" ")
}

#[test]
fn packing_uses_long_documents_whole() {
    let (dir, codec) = (tempfile::tempdir().unwrap(), codec());
    let texts = [text(100), text(3), text(61)];
    let mut packer = Packer::new(
        documents(dir.path(), &texts),
        &codec,
        PackPolicy::Pack,
        CONTEXT,
    )
    .unwrap();
    let rows: Vec<TokenRow> = packer.by_ref().map(Result::unwrap).collect();
    let ids = PackIds::of(&codec).unwrap();
    let mut joined: Vec<u32> = Vec::new();
    for row in &rows {
        assert_eq!(row.ids[0], ids.begin);
        assert!(row.ids.len() <= CONTEXT);
        joined.extend(&row.ids[1..]);
    }
    // Nothing but the tokens of the three, each once and in order, with an end token between two.
    let parts: Vec<Vec<u32>> = (texts.iter())
        .map(|text| codec.encode(text, false).unwrap())
        .collect();
    joined.retain(|id| *id != ids.end);
    assert_eq!(joined, parts.concat());
    let full = rows.iter().filter(|row| row.ids.len() == CONTEXT).count();
    assert!(
        full + 3 >= rows.len(),
        "{full} of {} rows are full",
        rows.len()
    );
    assert_eq!(rows.iter().map(|row| row.documents).sum::<u64>(), 3);
    assert_eq!(packer.kept_share(), Some(1.0));
}

#[test]
fn short_documents_are_packed_as_the_protocol_says() {
    let (dir, codec) = (tempfile::tempdir().unwrap(), codec());
    let texts: Vec<String> = (0..40).map(|i| text(i % 9 + 1)).collect();
    let packer = Packer::new(
        documents(dir.path(), &texts),
        &codec,
        PackPolicy::Pack,
        CONTEXT,
    )
    .unwrap();
    let ids = PackIds::of(&codec).unwrap();
    let mut left = texts.iter();
    for row in packer.map(Result::unwrap) {
        let mut wanted = vec![ids.begin];
        for (i, text) in left.by_ref().take(row.documents as usize).enumerate() {
            wanted.extend((i > 0).then_some(ids.end));
            wanted.extend(codec.encode(text, false).unwrap());
        }
        wanted.truncate(CONTEXT);
        assert_eq!(row.ids, wanted, "row {}", row.item);
    }
    assert_eq!(left.next(), None);
}

#[test]
fn truncating_knows_what_it_keeps() {
    let (dir, codec) = (tempfile::tempdir().unwrap(), codec());
    let share = |texts: &[String]| {
        let documents = documents(dir.path(), texts);
        let mut packer = Packer::new(documents, &codec, PackPolicy::Truncate, CONTEXT).unwrap();
        assert_eq!(packer.kept_share(), None);
        assert_eq!(packer.by_ref().count(), texts.len());
        packer.kept_share().unwrap()
    };
    assert_eq!(share(&[text(2), text(3)]), 1.0);
    let whole = codec.encode(&text(64), true).unwrap().len();
    assert_eq!(share(&[text(64)]), CONTEXT as f64 / whole as f64);
    // Of a very long text a beginning is tokenised, and the rest is estimated.
    let whole = codec.encode(&text(5000), true).unwrap().len();
    let kept = share(&[text(5000)]) * whole as f64 / CONTEXT as f64;
    assert!((0.95..1.05).contains(&kept), "{kept}");
}
