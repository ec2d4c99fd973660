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

fn global(name: &str) -> Vec<u8> {
    let (module, name) = name.rsplit_once('.').unwrap();
    format!("c{module}\n{name}\n").into_bytes()
}

fn key(name: &str) -> Vec<u8> {
    let mut key = b"X".to_vec();
    key.extend((name.len() as u32).to_le_bytes());
    key.extend(name.as_bytes());
    key
}

/// A tensor of three numbers in a storage of some type.
fn tensor(element: &str) -> Vec<u8> {
    let mut value = global("torch._utils._rebuild_tensor_v2");
    value.push(b'(');
    value.extend(storage(element, 3));
    value.extend(b"K\0K\x03\x85K\x01\x85\x89");
    value.extend(global("collections.OrderedDict"));
    value.extend(b")RtR");
    value
}

fn parameter(element: &str, state: &[u8]) -> Vec<u8> {
    let mut value = global("torch._utils._rebuild_parameter");
    value.push(b'(');
    value.extend(tensor(element));
    value.push(0x88);
    value.extend(state);
    value.extend(b"tR");
    value
}

fn dict(items: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut value = b"}(".to_vec();
    for (name, item) in items {
        value.extend(key(name));
        value.extend(item);
    }
    value.push(b'u');
    value
}

fn names(root: Vec<u8>) -> Result<Vec<String>, String> {
    let program = [b"\x80\x02".to_vec(), root, b".".to_vec()].concat();
    let items = parse(&program)?
        .into_iter()
        .filter(|(_, item)| *item != Item::Dict);
    Ok(items.map(|(name, _)| name).collect())
}

#[test]
fn a_parameter_is_its_tensor() {
    let hooks = [global("collections.OrderedDict"), b")R".to_vec()].concat();
    for (element, expected) in [
        ("FloatStorage", Dtype::F32),
        ("HalfStorage", Dtype::F16),
        ("BFloat16Storage", Dtype::BF16),
    ] {
        let found = with_value(&parameter(element, &hooks)).unwrap();
        let [(_, Item::Tensor(tensor))] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!((tensor.dtype, &*tensor.shape), (expected, &[3_u64][..]));
    }
    let hooked = [dict(&[("hook", b"K\x01".to_vec())])].concat();
    let error = with_value(&parameter("FloatStorage", &hooked)).unwrap_err();
    assert!(
        error.contains("a parameter in a way that is not known"),
        "{error}"
    );
}

#[test]
fn the_weights_of_a_trainers_checkpoint_are_found() {
    let weights = || dict(&[("b_dec", tensor("FloatStorage"))]);
    // The state of an optimiser has numbers as keys, lists and tensors.
    let optimizer = dict(&[
        ("state", b"}K\0]s".to_vec()),
        ("param_groups", b"]".to_vec()),
    ]);
    let checkpoint = dict(&[
        ("epoch", b"K\x02".to_vec()),
        ("optimizer", optimizer.clone()),
        ("state_dict", weights()),
        ("loss", b"N".to_vec()),
    ]);
    assert_eq!(names(checkpoint).unwrap(), ["state_dict.b_dec"]);
    let nested = dict(&[("model", dict(&[("ae", weights())]))]);
    assert_eq!(names(nested.clone()).unwrap(), ["model.ae.b_dec"]);
    let program = [b"\x80\x02".to_vec(), nested, b".".to_vec()].concat();
    let found = parse(&program).unwrap();
    let dicts = found.iter().filter(|(_, item)| *item == Item::Dict);
    let dicts: Vec<&str> = dicts.map(|(name, _)| name.as_str()).collect();
    assert_eq!(dicts, ["model", "model.ae"]);
    // Beside weights that lie open, nothing is passed over.
    let open = dict(&[("b_dec", tensor("FloatStorage")), ("optimizer", optimizer)]);
    let error = names(open).unwrap_err();
    assert!(error.contains("a key that is no text"), "{error}");
    let unknown = dict(&[("state_dict", weights()), ("scale", b"N".to_vec())]);
    let error = names(unknown).unwrap_err();
    assert!(error.contains("`scale` is neither tensor"), "{error}");
}

#[test]
fn a_dictionary_inside_itself_ends() {
    // Memo 1 is the dictionary itself, under two of its own keys.
    let mut root = b"}q\x01(".to_vec();
    for name in ["a", "b"] {
        root.extend(key(name));
        root.extend(b"h\x01");
    }
    root.push(b'u');
    let error = names(root).unwrap_err();
    assert!(error.contains("dictionaries inside each other"), "{error}");
}
