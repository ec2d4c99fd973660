//! Tables of results, and explanations of an earlier run.

use harness_benches::key_columns;
use harness_plan::sources::Explanations;
use harness_present::compare::{CompareOptions, CsvTable, compare, report_markdown, report_text};

use crate::scratch;

/// A table equals itself, and whether two are equal does not depend on which is first. A NUL byte
/// parts two tables.
pub fn csv(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (first, second) = (parts.next().unwrap_or(data), parts.next());
    let options = CompareOptions {
        known_keys: key_columns(),
        ..CompareOptions::default()
    };
    let Ok(left) = CsvTable::parse("a.csv", first) else {
        return;
    };
    assert!(left.rows.iter().all(|row| row.len() == left.columns.len()));
    match compare(&left, &left, &options) {
        Ok(itself) => {
            assert!(itself.is_equal(), "{:?}", itself.differences);
            assert_eq!(itself.rows, left.rows.len());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let Some(Ok(right)) = second.map(|second| CsvTable::parse("b.csv", second)) else {
        return;
    };
    let there = compare(&left, &right, &options);
    let back = compare(&right, &left, &options);
    match (there, back) {
        (Ok(there), Ok(back)) => {
            assert_eq!(there.differences.len(), back.differences.len());
            assert_eq!(there.largest, back.largest);
            let shown = report_text(&there) + &report_markdown(&there);
            let is_inert = |c: char| c == '\n' || !c.is_control();
            assert!(shown.chars().all(is_inert), "{shown:?}");
        }
        (Err(_), Err(_)) => {}
        (there, back) => panic!("{there:?} and the other way {back:?}"),
    }
}

/// explanations.jsonl of an earlier run, best first.
pub fn explanations(data: &[u8]) {
    let path = scratch::file("explanations.jsonl", data);
    let Ok(explanations) = Explanations::read(&path) else {
        return;
    };
    let lines = explanations.of("h");
    assert!(lines.iter().all(|line| !line.explanation.trim().is_empty()));
    let mut latents: Vec<u32> = lines.iter().map(|line| line.latent).collect();
    latents.sort_unstable();
    assert!(latents.windows(2).all(|two| two[0] != two[1]));
}

/// Inputs to begin with.
pub mod seeds {
    use crate::texts;

    pub fn csv() -> Vec<Vec<u8>> {
        let base = "model,sae,layer,score,starred\nqwen,q,1,0.5,true\nqwen,q,5,,false\ndream,d,1,nan,false\n";
        let other = "\u{feff}starred,layer,score,sae,model\r\nfalse,1,NaN,d,dream\r\nfalse,5,,q,qwen\r\ntrue,1.0,0.50,q,qwen\r\n";
        texts(&[
            base,
            other,
            &format!("{base}\0{other}"),
            &format!("{base}\0{}", base.replace("0.5", "0.5001")),
            &format!("{base}\0{}", base.replace("qwen,q,5,,false\n", "")),
            "k,\"layer\"\n\"a\n\"\"b\",inf\n\0k,layer\n=cmd|,-inf\n",
            "layer,x\n1,\u{1b}[31m<b>\n\0layer,x\n1,y\n",
        ])
    }

    pub fn explanations() -> Vec<Vec<u8>> {
        let line = |latent: u32, score: &str| {
            format!(
                r#"{{"sae_hash":"h","model":"m","sae":"s","layer":1,"k":8,"latent":{latent},"explanation":"boats","autointerp_score":{score},"judge":"j"}}"#
            )
        };
        texts(&[
            &line(1, "0.5"),
            &[line(4, "null"), line(9, "0.5"), line(2, "0.9")].join("\n"),
            &[line(1, "0.5"), line(1, "0.6")].join("\n\n"),
        ])
    }
}
