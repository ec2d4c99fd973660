use super::*;

/// `{"k": value}` with these instructions for the value.
fn with_value(value: &[u8]) -> Result<Vec<(String, Item)>, String> {
    let mut program = b"\x80\x02}X\x01\0\0\0k".to_vec();
    program.extend_from_slice(value);
    program.extend_from_slice(b"s.");
    parse(&program)
}

fn storage(element: &str, len: i64) -> Vec<u8> {
    let mut value = b"(X\x07\0\0\0storagec".to_vec();
    value.extend_from_slice(format!("torch\n{element}\n").as_bytes());
    value.extend_from_slice(b"X\x01\0\0\x000X\x03\0\0\0cpu\x8a\x08");
    value.extend_from_slice(&len.to_le_bytes());
    value.extend_from_slice(b"tQ");
    value
}

/// Copied each time, this megabyte of pickle would take 50 GB.
#[test]
fn a_long_word_recalled_often_is_not_copied() {
    let mut value = b"]X".to_vec();
    value.extend_from_slice(&500_000u32.to_le_bytes());
    value.extend(std::iter::repeat_n(b'x', 500_000));
    value.extend_from_slice(b"q\x01a");
    for _ in 0..100 {
        value.push(b'(');
        value.extend(b"h\x01".iter().copied().cycle().take(2 * 1000));
        value.push(b'e');
    }
    let error = with_value(&value).unwrap_err();
    assert!(error.contains("neither tensor, number nor word"), "{error}");
}

#[test]
fn a_storage_has_bytes_that_can_be_counted() {
    for (element, len) in [("DoubleStorage", (1 << 61) + 1), ("HalfStorage", i64::MAX)] {
        let error = with_value(&storage(element, len)).unwrap_err();
        assert!(error.contains("more than can be counted"), "{error}");
    }
    let error = with_value(&storage("DoubleStorage", 1)).unwrap_err();
    assert!(error.contains("neither tensor"), "{error}");
}

#[test]
fn names_are_short() {
    let mut program = b"\x80\x02}X".to_vec();
    program.extend_from_slice(&2000u32.to_le_bytes());
    program.extend(std::iter::repeat_n(b'x', 2000));
    program.extend_from_slice(b"K\x01s.");
    let error = parse(&program).unwrap_err();
    assert!(
        error.contains("a name of 2000 bytes, limit 1024"),
        "{error}"
    );
}
