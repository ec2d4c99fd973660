//! Documents with their labels beside them.

use serde_json::{Map, Value};

use super::documents::{Document, Documents};
use super::error::DataError;

/// Documents one by one, with the labels of the one given out last.
pub struct LabelledDocuments {
    documents: Documents,
    pointer: Option<String>,
    labels: Vec<String>,
}

impl LabelledDocuments {
    /// `documents` with the labels that the JSON pointer names in a document's row, such as
    /// `/labels/topics`; without a pointer there are none.
    ///
    /// # Errors
    /// [`DataError::Setting`] for a pointer that does not begin with `/`.
    pub fn new(documents: Documents, pointer: Option<&str>) -> Result<Self, DataError> {
        if let Some(pointer) = pointer.filter(|pointer| !pointer.starts_with('/')) {
            return Err(DataError::Setting(format!(
                "labels at {pointer:?}: a JSON pointer begins with a slash (hint: /{pointer})"
            )));
        }
        Ok(Self {
            documents,
            pointer: pointer.map(str::to_owned),
            labels: Vec::new(),
        })
    }

    /// Labels of the document that was given out last, each once, sorted. A row without the field
    /// has none.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The documents, for their counts.
    pub fn documents(&self) -> &Documents {
        &self.documents
    }
}

impl Iterator for LabelledDocuments {
    type Item = Result<Document, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.documents.next();
        self.labels.clear();
        if let (Some(pointer), Some(Ok(document))) = (&self.pointer, &next) {
            match labels(&document.fields, pointer) {
                Ok(labels) => self.labels = labels,
                Err(found) => {
                    return Some(Err(DataError::Setting(format!(
                        "labels at {pointer} of document {}: {found} is neither a text nor a list of texts",
                        document.item
                    ))));
                }
            }
        }
        next
    }
}

/// The labels in a row's fields, or what is there instead.
fn labels(fields: &Map<String, Value>, pointer: &str) -> Result<Vec<String>, Value> {
    let (first, rest) = match pointer[1..].split_once('/') {
        Some((first, rest)) => (first, format!("/{rest}")),
        None => (&pointer[1..], String::new()),
    };
    let first = first.replace("~1", "/").replace("~0", "~");
    let found = fields.get(&first).and_then(|field| field.pointer(&rest));
    let mut labels = match found {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(label)) => vec![label.clone()],
        Some(Value::Array(labels)) => labels
            .iter()
            .map(|label| label.as_str().map(str::to_owned).ok_or(label.clone()))
            .collect::<Result<_, _>>()?,
        Some(other) => return Err(other.clone()),
    };
    labels.sort_unstable();
    labels.dedup();
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::data::DataOptions;

    #[test]
    fn labels_stand_where_the_pointer_says() {
        let row = json!({"a/b": {"x": ["q", "p", "q"]}, "one": "z", "none": null, "bad": 3, "mixed": ["p", 1]});
        let of = |pointer: &str| labels(row.as_object().unwrap(), pointer);
        assert_eq!(of("/a~1b/x").unwrap(), ["p", "q"]);
        assert_eq!(of("/one").unwrap(), ["z"]);
        for absent in ["/none", "/nowhere", "/a~1b/y"] {
            assert!(of(absent).unwrap().is_empty());
        }
        assert_eq!(of("/bad").unwrap_err(), json!(3));
        assert_eq!(of("/mixed").unwrap_err(), json!(1));
    }

    #[test]
    fn labels_go_with_the_document_given_out_last() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.jsonl");
        let rows = [
            r#"{"text": "a", "l": "x"}"#,
            r#"{"text": "b"}"#,
            r#"{"text": "c", "l": {}}"#,
        ];
        std::fs::write(&path, rows.join("\n")).unwrap();
        let open = |pointer| {
            let documents = Documents::open(std::slice::from_ref(&path), DataOptions::default());
            LabelledDocuments::new(documents.unwrap(), pointer)
        };
        let mut documents = open(Some("/l")).unwrap();
        assert_eq!(documents.next().unwrap().unwrap().text, "a");
        assert_eq!(documents.labels(), ["x"]);
        assert_eq!(documents.next().unwrap().unwrap().text, "b");
        assert!(documents.labels().is_empty());
        let error = documents.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("/l of document 2: {}"), "{error}");
        assert_eq!(open(None).unwrap().filter_map(Result::ok).count(), 3);
        assert!(open(Some("l")).is_err());
    }
}
