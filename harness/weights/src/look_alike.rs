//! Things that lie in the place of a file that was meant, told by their first bytes.

/// What a download that went wrong in one of the usual ways has left in the place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookAlike {
    /// The text that Git LFS puts in the place of a large file.
    LfsPointer,
    /// A page of a web server.
    WebPage,
    /// What a web server writes of an error, or a document.
    Xml,
}

impl LookAlike {
    /// What the first bytes of a file show it to be, blanks before them aside.
    pub fn of(bytes: &[u8]) -> Option<LookAlike> {
        let start = bytes.trim_ascii_start();
        if start.starts_with(b"version https://git-lfs.github.com/spec/") {
            return Some(LookAlike::LfsPointer);
        }
        let head: Vec<u8> = start.iter().take(14).map(u8::to_ascii_lowercase).collect();
        let begins = |tags: &[&str]| tags.iter().any(|tag| head.starts_with(tag.as_bytes()));
        match begins(&["<!doctype html", "<html"]) {
            true => Some(LookAlike::WebPage),
            false => begins(&["<?xml"]).then_some(LookAlike::Xml),
        }
    }

    /// What to say of it in the place of a model's or an SAE's file, with the cure. It follows the
    /// path.
    pub fn message(self) -> &'static str {
        match self {
            LookAlike::LfsPointer => {
                "is a Git LFS pointer, not the file: run `git lfs pull` in its repository"
            }
            LookAlike::WebPage | LookAlike::Xml => {
                "is a web page, not the file: download it again (the file may need a login)"
            }
        }
    }
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
