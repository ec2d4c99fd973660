//! Paths that are no folder: what they probably were meant to be, and what to give instead.

use std::{fs, path::Path};

/// What to say of a path that was to be a checkpoint's folder and is none. It follows the path.
pub fn not_a_folder(path: &Path) -> String {
    if let Ok(target) = fs::read_link(path)
        && !path.exists()
    {
        return format!(
            "is a link to {}, which leads nowhere; give the folder itself",
            target.display()
        );
    }
    if path.is_file() {
        return format!(
            "is a file, not a folder; {}",
            match extension(path) {
                "gguf" => "GGUF weights are not read: give the folder of the same model with \
                           config.json and model.safetensors"
                    .to_owned(),
                _ => format!("give the folder that it is in: {}", folder_of(path)),
            }
        );
    }
    if let Some(id) = hub_id(path) {
        let name = id.rsplit('/').next().unwrap_or(id);
        return format!(
            "there is no such folder. It looks like the name of a repository on the Hugging Face \
             Hub; nothing is downloaded here, so fetch it first, `hf download {id} --local-dir \
             {name}`, and give the folder {name}"
        );
    }
    if path.starts_with("~") || path.to_str().is_some_and(|text| text.starts_with('~')) {
        return "there is no such folder; write out the home folder, `~` was not expanded"
            .to_owned();
    }
    "there is no such folder".to_owned()
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|end| end.to_str()).unwrap_or("")
}

fn folder_of(path: &Path) -> String {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.display().to_string(),
        _ => ".".to_owned(),
    }
}

/// `owner/name`, as repositories are called on the Hub. A path whose first part is a folder here
/// is a path.
fn hub_id(path: &Path) -> Option<&str> {
    let text = path.to_str()?;
    let (owner, name) = text.split_once('/')?;
    let is_name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    (is_name(owner) && is_name(name) && !Path::new(owner).exists()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_hub_are_recognised() {
        assert_eq!(
            hub_id(Path::new("Owner/Name-7B_v1.0")),
            Some("Owner/Name-7B_v1.0")
        );
        for path in [
            "a/b/c", "./a/b", "/a/b", "~/b", "name", "a/", "a/b c", "src/name",
        ] {
            assert_eq!(hub_id(Path::new(path)), None, "{path}");
        }
    }

    #[test]
    fn files_and_links_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.safetensors");
        fs::write(&file, "x").unwrap();
        let said = not_a_folder(&file);
        assert!(said.contains("is a file") && said.contains(&dir.path().display().to_string()));
        let gguf = dir.path().join("x.gguf");
        fs::write(&gguf, "GGUF").unwrap();
        assert!(not_a_folder(&gguf).contains("GGUF weights are not read"));
        #[cfg(unix)]
        {
            let link = dir.path().join("link");
            std::os::unix::fs::symlink("gone", &link).unwrap();
            assert!(not_a_folder(&link).contains("a link to gone, which leads nowhere"));
        }
        assert_eq!(
            not_a_folder(Path::new("no-such")),
            "there is no such folder"
        );
        assert!(not_a_folder(Path::new("~x/y/z")).contains("`~` was not expanded"));
    }
}
