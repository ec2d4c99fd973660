use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use harness_contract::outputs::ExplanationLine;
use harness_core::sae_id::sae_name;
use harness_weights::InputError;

/// A longer line is none of explanations.jsonl.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// Explanations of latents by the content hash of their SAE, each list best score first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explanations {
    by_sae: BTreeMap<String, Vec<ExplanationLine>>,
}

impl Explanations {
    /// Reads explanations.jsonl of a run that explained latents.
    ///
    /// # Errors
    /// A file that cannot be read; a line that is no explanation or is the second of its latent, by
    /// number.
    pub fn read(path: &Path) -> Result<Explanations, InputError> {
        let io = InputError::io(path);
        let mut reader = BufReader::new(File::open(path).map_err(&io)?);
        let mut by_sae: BTreeMap<String, BTreeMap<u32, ExplanationLine>> = BTreeMap::new();
        for number in 1.. {
            let bad = |what: String| {
                let (file, bench) = (ExplanationLine::FILE, ExplanationLine::BENCH);
                let hint = format!("{file} of an {bench} run is expected");
                InputError::unusable(path, format!("line {number} {what}; {hint}"))
            };
            let mut bytes = Vec::new();
            let n = Read::take(&mut reader, MAX_LINE_BYTES + 1)
                .read_until(b'\n', &mut bytes)
                .map_err(&io)?;
            if n == 0 {
                break;
            }
            if n as u64 > MAX_LINE_BYTES {
                return Err(bad(format!("is longer than {MAX_LINE_BYTES} bytes")));
            }
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            let line: ExplanationLine = serde_json::from_slice(&bytes)
                .map_err(|error| bad(format!("is not an explanation: {error}")))?;
            if line.explanation.trim().is_empty() {
                return Err(bad("has an empty explanation".to_owned()));
            }
            let of_sae = by_sae.entry(line.sae_hash.clone()).or_default();
            if of_sae.contains_key(&line.latent) {
                return Err(bad(format!(
                    "is the second of latent {} of {}",
                    line.latent,
                    sae_name(&line.sae, line.layer, line.k)
                )));
            }
            of_sae.insert(line.latent, line);
        }
        let sorted = |lines: BTreeMap<u32, ExplanationLine>| {
            let mut lines: Vec<_> = lines.into_values().collect();
            lines.sort_by(ExplanationLine::best_first);
            lines
        };
        Ok(Explanations {
            by_sae: (by_sae.into_iter())
                .map(|(sae, lines)| (sae, sorted(lines)))
                .collect(),
        })
    }

    /// The explanations of an SAE's latents, best score first.
    pub fn of(&self, sae_hash: &str) -> &[ExplanationLine] {
        self.by_sae.get(sae_hash).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Explanations, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("explanations.jsonl");
        std::fs::write(&path, text).unwrap();
        Explanations::read(&path).map_err(|error| error.to_string())
    }

    fn line(latent: u32, score: &str) -> String {
        format!(
            r#"{{"sae_hash":"h","model":"m","sae":"s","layer":1,"k":8,"latent":{latent},"explanation":"boats","autointerp_score":{score},"judge":"j"}}"#
        )
    }

    #[test]
    fn the_best_come_first_and_those_without_a_score_last() {
        let lines = [
            line(4, "null"),
            line(9, "0.5"),
            line(2, "0.9"),
            line(1, "0.5"),
        ];
        let read = read(&lines.join("\n")).unwrap();
        let latents: Vec<u32> = read.of("h").iter().map(|l| l.latent).collect();
        assert_eq!(latents, [2, 1, 9, 4]);
        assert!(read.of("other").is_empty());
    }

    /// A comparison of each line with all before it would take half a minute here.
    #[test]
    fn any_number_of_explanations_is_read() {
        let lines: Vec<String> = (0..100_000).map(|latent| line(latent, "0.5")).collect();
        assert_eq!(read(&lines.join("\n")).unwrap().of("h").len(), 100_000);
    }

    #[test]
    fn lines_that_are_no_explanations_are_named() {
        let bad = [
            (
                "{}".to_owned(),
                "line 1 is not an explanation: missing field `sae_hash`",
            ),
            (line(1, "1e999"), "line 1 is not an explanation"),
            (
                line(1, "0.5").replace("boats", " "),
                "line 1 has an empty explanation",
            ),
            (
                [line(1, "0.5"), line(1, "0.6")].join("\n"),
                "line 2 is the second of latent 1 of s layer 1 k 8",
            ),
            ("\u{0}".to_owned(), "line 1 is not an explanation"),
        ];
        for (text, message) in bad {
            let error = read(&text).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
        assert!(
            read(&"x".repeat(2 << 20))
                .unwrap_err()
                .contains("longer than")
        );
    }
}
