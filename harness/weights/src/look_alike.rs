/// What a file is when its download went wrong in one of the usual ways.
pub fn misplaced(bytes: &[u8]) -> Option<&'static str> {
    let start = bytes.trim_ascii_start();
    if start.starts_with(b"version https://git-lfs") {
        return Some("is a Git LFS pointer, not the file: run `git lfs pull` in its repository");
    }
    let head: Vec<u8> = start.iter().take(14).map(u8::to_ascii_lowercase).collect();
    (head.starts_with(b"<!doctype html")
        || head.starts_with(b"<html")
        || head.starts_with(b"<?xml"))
    .then_some("is a web page, not the file: download it again (the file may need a login)")
}

/// What a file of the name of a safetensors file is instead, told by its first bytes.
pub(crate) fn not_safetensors(head: &[u8]) -> Option<&'static str> {
    if head.starts_with(b"PK\x03\x04") || is_pickle(head) {
        return Some(
            "is a pickled PyTorch file under the name of a safetensors file; convert it to \
             safetensors",
        );
    }
    head.starts_with(b"GGUF")
        .then_some("is a GGUF file; safetensors files are read")
}

/// Whether a file begins as a pickle does. So does a safetensors file whose header takes 640
/// bytes; behind its length comes a brace.
fn is_pickle(head: &[u8]) -> bool {
    head.starts_with(b"\x80\x02") && head.get(4..9) != Some(b"\0\0\0\0{")
}
