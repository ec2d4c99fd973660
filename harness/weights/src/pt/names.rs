//! Names of tensors without what wrappers of a module put before them.

use super::{Item, Items};

/// Parts of names that torch's wrappers add, wherever they stand: `torch.compile`, data
/// parallelism, fully sharded parallelism and activation checkpoints.
const WRAPPERS: [&str; 4] = [
    "_orig_mod",
    "module",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
];
/// Parts of an SAE itself, which all names of a small file may have in common.
const OWN: [&str; 2] = ["encoder", "decoder"];

/// The names of a file's tensors as the SAE itself calls them: without the parts that torch's
/// wrappers add, and without what all of them begin with, such as `ae.` or `state_dict.`.
///
/// # Errors
/// Two names that become one.
pub fn unwrapped<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Vec<String>, String> {
    let mut paths: Vec<Vec<&str>> = names.into_iter().map(without_wrappers).collect();
    while common(&paths).is_some_and(|first| !OWN.contains(&first)) {
        for path in &mut paths {
            path.remove(0);
        }
    }
    let plain: Vec<String> = paths.iter().map(|path| path.join(".")).collect();
    let mut sorted = plain.clone();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!(
            "`{}` is there twice, with and without a wrapper's prefix",
            pair[0].escape_debug()
        )),
        None => Ok(plain),
    }
}

/// The items of a state dict under their [`unwrapped`] names: its tensors, and the scalars that lie
/// beside them behind the same prefix.
///
/// # Errors
/// Two names that become one.
pub fn unwrapped_items(mut items: Items) -> Result<Items, String> {
    let is_tensor = |item: &&(String, Item)| matches!(item.1, Item::Tensor(_));
    let names = items
        .iter()
        .filter(is_tensor)
        .map(|(name, _)| name.as_str());
    let names: Vec<String> = names.map(str::to_owned).collect();
    let plain = unwrapped(names.iter().map(String::as_str))?;
    let prefix = names.iter().zip(&plain).find_map(|(name, plain)| {
        let prefix = name.strip_suffix(plain.as_str())?;
        (!prefix.is_empty()).then_some(prefix)
    });
    let mut plain = plain.into_iter();
    for (name, item) in &mut items {
        let own = match item {
            Item::Tensor(_) => plain.next(),
            Item::Scalar(_) | Item::Dict => {
                prefix.and_then(|p| name.strip_prefix(p)).map(str::to_owned)
            }
        };
        *name = own.unwrap_or_else(|| name.clone());
    }
    Ok(items)
}

/// The parts of a name but for those of wrappers. The last part is always the tensor's own.
fn without_wrappers(name: &str) -> Vec<&str> {
    let parts: Vec<&str> = name.split('.').collect();
    let last = parts.len() - 1;
    let is_kept = |(i, part): &(usize, &str)| *i == last || !WRAPPERS.contains(part);
    let kept = parts.iter().copied().enumerate().filter(is_kept);
    kept.map(|(_, part)| part).collect()
}

/// The first part that all names have, where each has another one behind it.
fn common<'a>(paths: &[Vec<&'a str>]) -> Option<&'a str> {
    let first = *paths.first()?.first()?;
    let has = |path: &Vec<&str>| path.len() > 1 && path[0] == first;
    paths.iter().all(has).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_and_common_prefixes_go() {
        for names in [
            ["encoder.weight", "encoder.bias", "b_dec"],
            [
                "_orig_mod.encoder.weight",
                "_orig_mod.encoder.bias",
                "_orig_mod.b_dec",
            ],
            [
                "module._orig_mod.encoder.weight",
                "module._orig_mod.encoder.bias",
                "module._orig_mod.b_dec",
            ],
            ["ae.encoder.weight", "ae.encoder.bias", "ae.b_dec"],
            [
                "state_dict.ae.module.encoder.weight",
                "state_dict.ae.module.encoder.bias",
                "state_dict.ae.module.b_dec",
            ],
            // Only a part of the module was compiled.
            [
                "encoder._orig_mod.weight",
                "encoder._orig_mod.bias",
                "b_dec",
            ],
        ] {
            assert_eq!(
                unwrapped(names).unwrap(),
                ["encoder.weight", "encoder.bias", "b_dec"],
                "{names:?}"
            );
        }
        // Nothing of an SAE's own names is taken for a prefix.
        let own = ["encoder.weight", "encoder.bias"];
        assert_eq!(unwrapped(own).unwrap(), own);
        assert_eq!(
            unwrapped(["ae.W_enc", "b_dec"]).unwrap(),
            ["ae.W_enc", "b_dec"]
        );
        let twice = unwrapped(["b_dec", "_orig_mod.b_dec"]).unwrap_err();
        assert!(twice.contains("`b_dec` is there twice"), "{twice}");
    }
}
