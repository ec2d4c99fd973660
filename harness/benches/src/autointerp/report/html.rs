//! Documents: what is put into them, and the policy that says what may run.

use base64::prelude::{BASE64_STANDARD, Engine};
use sha2::{Digest, Sha256};

/// Text in an element or a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // A document cannot hold it.
            '\0' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A template with every `{{name}}` replaced. What is put in is not looked at again, so a text from
/// outside that holds `{{name}}` stays as it is.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let size = values.iter().map(|(_, value)| value.len()).sum::<usize>();
    let mut out = String::with_capacity(template.len() + size);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let named = after.split_once("}}").and_then(|(name, after)| {
            let value = values.iter().find(|(known, _)| *known == name)?;
            Some((value.1, after))
        });
        rest = match named {
            Some((value, after)) => {
                out.push_str(value);
                after
            }
            None => {
                out.push_str("{{");
                after
            }
        };
    }
    out.push_str(rest);
    out
}

/// A policy under which nothing is loaded and nothing runs but this script and this style. Trusted
/// types are demanded and none is defined: no text can become markup, not even by a mistake in the
/// script.
pub(super) fn policy(script: Option<&str>, style: &str) -> String {
    let script = script.map_or("'none'".to_owned(), source);
    let style = source(style);
    format!(
        "default-src 'none'; script-src {script}; style-src {style}; img-src data:; base-uri 'none'; \
         form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
}

/// A script or style by its hash, as a policy names it.
fn source(text: &str) -> String {
    format!(
        "'sha256-{}'",
        BASE64_STANDARD.encode(Sha256::digest(text.as_bytes()))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_not_a_template() {
        let values = [("a", "{{b}}"), ("b", "x")];
        assert_eq!(fill("{{a}} {{b}} {{c}} {{", &values), "{{b}} x {{c}} {{");
    }

    #[test]
    fn markup_in_text_is_text() {
        assert_eq!(
            escape("<img src=\"x\" onerror='y'>&\0"),
            "&lt;img src=&quot;x&quot; onerror=&#39;y&#39;&gt;&amp;\u{fffd}"
        );
    }

    #[test]
    fn a_policy_names_the_empty_script_by_its_known_hash() {
        let policy = policy(Some(""), "");
        let hash = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='";
        assert!(policy.contains(&format!("script-src {hash}; style-src {hash};")));
    }
}
