use super::*;

#[test]
fn other_things_under_the_name_of_weights_are_named() {
    let dir = tempfile::tempdir().unwrap();
    check_sae(dir.path()).unwrap();
    let of = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let said = check_sae(dir.path());
        fs::remove_file(path).unwrap();
        said.unwrap_err().to_string()
    };
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
    for name in ["sae.safetensors", "ae.pt"] {
        assert!(of(name, pointer).contains("Git LFS pointer"));
        assert!(of(name, b"<!DOCTYPE html><html>").contains("web page"));
        assert!(of(name, b"").contains("is empty"));
    }
    assert!(of("sae.safetensors", b"PK\x03\x04......").contains("pickled PyTorch file"));
    assert!(of("sae.safetensors", b"GGUF....").contains("GGUF"));
    assert!(
        read_tensors(Path::new("no/such"))
            .unwrap_err()
            .to_string()
            .contains("no/such")
    );
}
