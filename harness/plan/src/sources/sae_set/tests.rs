use std::fs;

use harness_contract::sources::find;

use super::*;

const PLAIN: &str = r#"{"d_in":4,"d_sae":8,"k":2}"#;

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

/// The set in a folder as the Top-K plugin's own reader of folders says.
fn set(dir: &Path) -> Result<SaeSet, InputError> {
    let mut answers = Answers::default();
    let said = |dir: &Path| match sae_folder::inspect(dir) {
        Ok(None) => SaeAnswer::Nothing,
        Ok(Some(folder)) => {
            let text = folder.to_json().to_string();
            SaeAnswer::of_plugin(&text, "topk", &["topk".to_owned()]).unwrap()
        }
        Err(error) => SaeAnswer::Bad {
            message: error.to_string(),
        },
    };
    if dir.is_dir() {
        find(dir, &mut |dir| {
            answers.add(dir.to_owned(), said(dir));
            Ok(said(dir))
        })?;
    }
    SaeSet::read("mask", dir, &answers, None)
}

fn read(files: &[(&str, &str)]) -> Result<SaeSet, String> {
    set(tree(files).path()).map_err(|error| error.to_string())
}

fn ids(files: &[(&str, &str)]) -> Vec<(u32, String)> {
    let set = read(files).unwrap();
    let of = |sae: &SaeFolder| (sae.layer, sae.id.clone());
    set.saes.iter().map(of).collect()
}

#[test]
fn every_format_is_listed() {
    let dir = tree(&[
        (
            "resid_post_layer_10/trainer_0/config.json",
            r#"{"trainer":{"k":50,"activation_dim":64,"dict_size":195,"layer":10},"buffer":{}}"#,
        ),
        (
            "resid_post_layer_2/trainer_1/cfg.json",
            r#"{"d_in":64,"d_sae":195,"k":24}"#,
        ),
        (
            "resid_post_layer_2/trainer_0/cfg.json",
            r#"{"d_in":64,"d_sae":195,"activation_fn_kwargs":{"k":8},"hook_layer":2}"#,
        ),
        (
            "resid_post_layer_3/trainer_0/cfg.json",
            r#"{"d_in":64,"num_latents":0,"expansion_factor":4,"k":8.0}"#,
        ),
        ("notes/readme.txt", "x"),
    ]);
    let set = set(dir.path()).unwrap();
    let got: Vec<_> = set
        .saes
        .iter()
        .map(|s| (s.layer, s.k.unwrap(), s.d_model, s.d_sae))
        .collect();
    assert_eq!(
        got,
        [
            (2, 8, 64, 195),
            (2, 24, 64, 195),
            (3, 8, 64, 256),
            (10, 50, 64, 195)
        ]
    );
    assert_eq!(set.saes[0].id, "resid_post_layer_2/trainer_0");
    assert_eq!((set.layers(), set.ks(2)), (vec![2, 3, 10], vec![8, 24]));
    assert_eq!((set.get(2, 24).count(), set.get(2, 9).count()), (1, 0));
    let mut cache = HashCache::in_memory();
    assert_ne!(
        sae_hash(&set.saes[0], &mut cache).unwrap(),
        sae_hash(&set.saes[1], &mut cache).unwrap()
    );
}

#[test]
fn folders_are_named_by_a_module_or_a_hook_at_any_depth() {
    let files = [
        ("layers.1/cfg.json", PLAIN),
        ("h.2/cfg.json", PLAIN),
        ("model.layers.3/trainer_0/cfg.json", PLAIN),
        ("run/transformer.h.4/16x/cfg.json", PLAIN),
        ("blocks.6.hook_resid_pre/cfg.json", PLAIN),
    ];
    assert_eq!(
        ids(&files),
        [
            (1, "layers.1".to_owned()),
            (2, "h.2".to_owned()),
            (3, "model.layers.3/trainer_0".to_owned()),
            (4, "run/transformer.h.4/16x".to_owned()),
            (5, "blocks.6.hook_resid_pre".to_owned()),
        ]
    );
}

#[test]
fn an_own_folder_is_a_set_of_one() {
    let dir = tree(&[("some/layers.3/cfg.json", PLAIN)]);
    let set = set(&dir.path().join("some/layers.3")).unwrap();
    assert_eq!((set.saes[0].layer, &*set.saes[0].id), (3, "layers.3"));
}

#[test]
fn two_of_one_layer_and_k_are_both_there_in_the_order_of_their_numbers() {
    let files = [
        ("resid_post_layer_1/trainer_10/cfg.json", PLAIN),
        ("resid_post_layer_1/trainer_2/cfg.json", PLAIN),
    ];
    assert_eq!(
        ids(&files),
        [
            (1, "resid_post_layer_1/trainer_2".to_owned()),
            (1, "resid_post_layer_1/trainer_10".to_owned()),
        ]
    );
    assert_eq!(read(&files).unwrap().ks(1), [2]);
}

#[test]
fn other_places_are_passed_over_by_name_or_refused() {
    let mlp = r#"{"d_in":4,"d_sae":8,"k":2,"hook_name":"blocks.0.hook_mlp_out"}"#;
    let set = read(&[
        ("layers.1/cfg.json", PLAIN),
        ("layers.1.mlp/cfg.json", PLAIN),
        ("x/cfg.json", mlp),
        ("blocks.0.hook_resid_pre/cfg.json", PLAIN),
    ])
    .unwrap();
    assert_eq!(set.saes.len(), 1);
    let why: Vec<&str> = set.passed_over.iter().map(|p| p.why.as_str()).collect();
    for (why, hook) in why.iter().zip([
        "blocks.0.hook_resid_pre",
        "layers.1.mlp",
        "blocks.0.hook_mlp_out",
    ]) {
        assert!(why.contains(&format!("reads `{hook}`")), "{why}");
    }
    let alone = read(&[("layers.1.attn/cfg.json", PLAIN)]).unwrap_err();
    assert!(alone.contains("it reads `layers.1.attn`"), "{alone}");
}

#[test]
fn an_sae_of_another_kind_needs_no_k() {
    let jumprelu = r#"{"d_in":4,"d_sae":8,"architecture":"jumprelu"}"#;
    let set = read(&[("layers.1/cfg.json", jumprelu)]).unwrap();
    assert_eq!(set.saes[0].k, None);
    let why = set.saes[0].refusal("topk").unwrap();
    assert!(
        why.contains("JumpReLU") && why.contains("`architecture` is `jumprelu`"),
        "{why}"
    );
    let crosscoder = r#"{"trainer":{"dict_class":"CrossCoder"}}"#;
    let error = read(&[("layers.1/config.json", crosscoder)]).unwrap_err();
    assert!(error.contains("crosscoder"), "{error}");
}

#[test]
fn broken_sets_are_refused() {
    let error = |files: &[(&str, &str)]| read(files).unwrap_err();
    assert!(error(&[("a/b", "")]).contains("holds no SAE"));
    let no_config = error(&[("resid_post_layer_1/trainer_0/ae.pt", "PK")]);
    assert!(
        no_config.contains("no config.json beside its ae.pt"),
        "{no_config}"
    );
    let empty = error(&[("resid_post_layer_1/trainer_0/readme.txt", "")]);
    assert!(
        empty.contains("trainer_0") && empty.contains("download incomplete?"),
        "{empty}"
    );
    let wrong_layer = r#"{"d_in":4,"d_sae":8,"k":2,"hook_layer":3}"#;
    let wrong = error(&[("resid_post_layer_1/trainer_0/cfg.json", wrong_layer)]);
    assert!(
        wrong.contains("hook_layer 3") && wrong.contains("resid_post_layer_1"),
        "{wrong}"
    );
    let large = error(&[("layers.1/cfg.json", r#"{"d_in":4,"d_sae":8,"k":9}"#)]);
    assert!(large.contains("k 9 of 8"), "{large}");
    let no_k = error(&[("layers.1/cfg.json", r#"{"d_in":4,"d_sae":8,"k":2.5}"#)]);
    assert!(no_k.contains("no positive whole number `k`"), "{no_k}");
    let nowhere = error(&[("run/cfg.json", PLAIN)]);
    assert!(nowhere.contains("names no layer"), "{nowhere}");
    let several = error(&[
        ("mask/layers.1/cfg.json", PLAIN),
        ("unmask/layers.1/cfg.json", PLAIN),
    ]);
    assert!(
        several.contains("several policies: mask (mask/layers.1)"),
        "{several}"
    );
    let missing = set(Path::new("no/such")).unwrap_err().to_string();
    assert!(
        missing.contains("--saes mask=DIR") && missing.contains("harness train"),
        "{missing}"
    );
}

#[test]
fn what_is_no_folder_is_said() {
    let dir = tree(&[("sae.safetensors", "")]);
    let said = |path: &Path| set(path).unwrap_err().to_string();
    let file = said(&dir.path().join("sae.safetensors"));
    assert!(
        file.contains("SAE set mask") && file.contains("is a file, not a folder"),
        "{file}"
    );
    let hub = said(Path::new("org/saes"));
    assert!(
        hub.contains("hf download org/saes") && hub.contains("--saes mask=DIR"),
        "{hub}"
    );
}

#[test]
fn two_plugins_that_read_one_sae_are_named_unless_an_architecture_is() {
    let dir = tree(&[("layers.1/cfg.json", PLAIN)]);
    let claim = |plugin: &str| {
        let folder = sae_folder::inspect(&dir.path().join("layers.1"))
            .unwrap()
            .unwrap();
        let text = folder.to_json().to_string();
        match SaeAnswer::of_plugin(&text, plugin, &[plugin.to_owned()]).unwrap() {
            SaeAnswer::Sae { mut claims } => claims.remove(0),
            other => panic!("{other:?}"),
        }
    };
    let mut answers = Answers::default();
    answers.add(dir.path().to_owned(), SaeAnswer::Nothing);
    let claims = vec![claim("topk"), claim("other")];
    answers.add(dir.path().join("layers.1"), SaeAnswer::Sae { claims });
    let read = |wanted| SaeSet::read("mask", dir.path(), &answers, wanted);
    assert_eq!(read(Some("other")).unwrap().saes[0].layer, 1);
    let error = read(None).unwrap_err().to_string();
    assert!(
        error.contains("several plugins: `topk`, `other`"),
        "{error}"
    );
}
