use std::collections::{BTreeMap, BTreeSet};

use super::{CompareError, CsvTable, table::SAE_ID};

/// How values are compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CompareOptions {
    /// Allowed difference relative to the second file's value.
    pub rtol: f64,
    /// Allowed absolute difference.
    pub atol: f64,
    /// Columns that name a row; empty for those known to.
    pub key: Vec<String>,
    /// Columns that name a row in tables of the harness.
    pub known_keys: BTreeSet<&'static str>,
    /// Columns that are not compared, such as times.
    pub ignore: Vec<String>,
}

/// What a comparison found.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Names of the two files.
    pub names: [String; 2],
    /// Rows in both files.
    pub rows: usize,
    /// Values compared.
    pub values: usize,
    /// Columns that name a row.
    pub key: Vec<String>,
    /// The file that alone says which SAE of its set a row is of; rows are matched without that.
    pub sae_id_only_in: Option<String>,
    /// Differences, by key.
    pub differences: Vec<Difference>,
    /// Largest absolute difference of each column with numbers, allowed or not.
    pub largest: BTreeMap<String, f64>,
}

/// A row that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The key: column and text.
    pub key: Vec<(String, String)>,
    /// What differs.
    pub finding: Finding,
}

/// What differs.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// The row is in the first file alone.
    OnlyLeft,
    /// The row is in the second file alone.
    OnlyRight,
    /// A value differs.
    Value {
        column: String,
        /// In the first file.
        left: String,
        /// In the second file.
        right: String,
        /// By how much, where both are numbers.
        by: Option<f64>,
    },
}

impl Comparison {
    /// Whether the files are the same within the tolerances.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty()
    }

    /// Takes out rows that are in one file alone, and says how many.
    pub fn keep_common_rows(&mut self) -> usize {
        let before = self.differences.len();
        self.differences
            .retain(|difference| matches!(difference.finding, Finding::Value { .. }));
        before - self.differences.len()
    }
}

/// Compare two tables. The order of rows and of columns does not matter. Where one file alone has
/// the column `sae_id`, rows are matched without it.
///
/// # Errors
/// When they have different columns, no key, or two rows of one key.
pub fn compare(
    left: &CsvTable,
    right: &CsvTable,
    options: &CompareOptions,
) -> Result<Comparison, CompareError> {
    let has_id = |table: &CsvTable| table.columns.iter().any(|c| c == SAE_ID);
    let is_id_asked = options
        .key
        .iter()
        .chain(&options.ignore)
        .any(|c| c == SAE_ID);
    let sae_id_only_in = match (has_id(left), has_id(right)) {
        _ if is_id_asked => None,
        (true, false) => Some(left.name.clone()),
        (false, true) => Some(right.name.clone()),
        _ => None,
    };
    let is_unmatched = |c: &String| sae_id_only_in.is_some() && c == SAE_ID;
    let only = |a: &CsvTable, b: &CsvTable| -> Vec<String> {
        a.columns
            .iter()
            .filter(|c| !b.columns.contains(c) && !options.ignore.contains(c) && !is_unmatched(c))
            .cloned()
            .collect()
    };
    let (left_only, right_only) = (only(left, right), only(right, left));
    if !left_only.is_empty() || !right_only.is_empty() {
        return Err(CompareError::Columns {
            left_only,
            right_only,
        });
    }
    for column in &options.ignore {
        left.column(column)
            .or_else(|error| right.column(column).map_err(|_| error))?;
    }
    let mut key = left.key_columns(&options.key, &options.known_keys)?;
    key.retain(|c| !is_unmatched(c));
    if key.is_empty() {
        return Err(left.no_key());
    }
    let by_key = |table: &CsvTable| {
        table.by_key(&key).map_err(|error| match error {
            CompareError::DuplicateKey {
                name,
                key,
                first,
                second,
            } if sae_id_only_in.as_ref() == Some(&name) => CompareError::NeedsSaeId {
                name,
                key,
                first,
                second,
            },
            other => other,
        })
    };
    let (left_rows, right_rows) = (by_key(left)?, by_key(right)?);
    let compared: Vec<(&str, usize, usize)> = left
        .columns
        .iter()
        .filter(|c| !key.contains(c) && !options.ignore.contains(c) && !is_unmatched(c))
        .map(|c| Ok((c.as_str(), left.column(c)?, right.column(c)?)))
        .collect::<Result<_, CompareError>>()?;
    let key_text = |table: &CsvTable, row: usize| -> Vec<(String, String)> {
        let at = |k: &String| table.columns.iter().position(|c| c == k);
        key.iter()
            .filter_map(|k| Some((k.clone(), table.rows[row][at(k)?].trim().to_owned())))
            .collect()
    };
    let mut result = Comparison {
        names: [left.name.clone(), right.name.clone()],
        rows: 0,
        values: 0,
        key: key.clone(),
        sae_id_only_in: sae_id_only_in.clone(),
        differences: Vec::new(),
        largest: BTreeMap::new(),
    };
    for (parts, &l) in &left_rows {
        let Some(&r) = right_rows.get(parts) else {
            result.differences.push(Difference {
                key: key_text(left, l),
                finding: Finding::OnlyLeft,
            });
            continue;
        };
        result.rows += 1;
        for &(column, lc, rc) in &compared {
            result.values += 1;
            let (a, b) = (left.rows[l][lc].trim(), right.rows[r][rc].trim());
            let (same, by) = values_agree(a, b, options);
            if let Some(by) = by.filter(|by| by.is_finite()) {
                let largest = result.largest.entry(column.to_owned()).or_insert(0.0);
                *largest = largest.max(by);
            }
            if !same {
                let finding = Finding::Value {
                    column: column.to_owned(),
                    left: a.to_owned(),
                    right: b.to_owned(),
                    by,
                };
                result.differences.push(Difference {
                    key: key_text(left, l),
                    finding,
                });
            }
        }
    }
    for (_, &r) in right_rows
        .iter()
        .filter(|(parts, _)| !left_rows.contains_key(*parts))
    {
        result.differences.push(Difference {
            key: key_text(right, r),
            finding: Finding::OnlyRight,
        });
    }
    Ok(result)
}

/// Whether two fields agree, and by how much they differ where both are numbers. NaN agrees with
/// NaN; nothing agrees with nothing only.
fn values_agree(a: &str, b: &str, options: &CompareOptions) -> (bool, Option<f64>) {
    if a == b {
        return (true, a.parse::<f64>().ok().map(|_| 0.0));
    }
    let (Ok(x), Ok(y)) = (a.parse::<f64>(), b.parse::<f64>()) else {
        return (false, None);
    };
    if x == y || (x.is_nan() && y.is_nan()) {
        return (true, Some(0.0));
    }
    let by = (x - y).abs();
    (
        by <= options.atol + options.rtol * y.abs() && by.is_finite(),
        Some(by),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{report_markdown, report_text};
    use proptest::prelude::*;

    const BASE: &str =
        "model,sae,layer,score,starred\nqwen,q,1,0.5,true\nqwen,q,5,,false\ndream,d,1,nan,false\n";

    fn exact() -> CompareOptions {
        CompareOptions {
            known_keys: ["model", "sae", SAE_ID, "layer", "k"].into(),
            ..CompareOptions::default()
        }
    }

    fn run(a: &str, b: &str, options: &CompareOptions) -> Result<Comparison, CompareError> {
        compare(
            &CsvTable::parse("a.csv", a.as_bytes())?,
            &CsvTable::parse("b.csv", b.as_bytes())?,
            options,
        )
    }

    fn findings(a: &str, b: &str) -> Vec<Finding> {
        run(a, b, &exact())
            .unwrap()
            .differences
            .into_iter()
            .map(|d| d.finding)
            .collect()
    }

    #[test]
    fn order_of_rows_and_columns_marks_and_line_ends_do_not_matter() {
        let other = "\u{feff}starred,layer,score,sae,model\r\nfalse,1,NaN,d,dream\r\nfalse,5,,q,qwen\r\ntrue,1,0.50,q,qwen\r\n";
        let got = run(BASE, other, &exact()).unwrap();
        assert!(got.is_equal(), "{:?}", got.differences);
        assert_eq!((got.rows, got.values), (3, 6));
        assert_eq!(got.key, ["model", "sae", "layer"]);
    }

    #[test]
    fn differences_name_key_and_column() {
        let got = findings(BASE, &BASE.replace("0.5,true", "0.5001,true"));
        let Finding::Value {
            column,
            left,
            right,
            by,
        } = &got[0]
        else {
            panic!("{got:?}")
        };
        assert_eq!(
            (column.as_str(), left.as_str(), right.as_str()),
            ("score", "0.5", "0.5001")
        );
        assert!((by.unwrap() - 1e-4).abs() < 1e-12 && got.len() == 1);
        // A missing value is neither 0 nor NaN.
        assert_eq!(findings(BASE, &BASE.replace("q,5,,", "q,5,0,")).len(), 1);
        assert_eq!(findings(BASE, &BASE.replace("nan", "")).len(), 1);
        assert_eq!(findings(BASE, &BASE.replace("true", "false")).len(), 1);
        assert_eq!(
            findings(BASE, &BASE.replace("qwen,q,5,,false\n", "")),
            [Finding::OnlyLeft]
        );
        assert_eq!(
            findings(&BASE.replace("qwen,q,5,,false\n", ""), BASE),
            [Finding::OnlyRight]
        );
    }

    #[test]
    fn tolerances() {
        let b = BASE.replace("0.5,true", "0.5001,true");
        let with = |rtol, atol| {
            run(
                BASE,
                &b,
                &CompareOptions {
                    rtol,
                    atol,
                    ..exact()
                },
            )
            .unwrap()
        };
        assert!(with(0.0, 1.1e-4).is_equal() && with(2.1e-4, 0.0).is_equal());
        assert!(!with(0.0, 0.9e-4).is_equal() && !with(1.9e-4, 0.0).is_equal());
        assert!((with(0.0, 1.0).largest["score"] - 1e-4).abs() < 1e-12);
        let infinite = run(
            "k,x\n1,inf\n2,-inf\n",
            "k,x\n1,inf\n2,inf\n",
            &CompareOptions {
                rtol: 1.0,
                ..exact()
            },
        );
        assert_eq!(infinite.unwrap().differences.len(), 1);
    }

    #[test]
    fn what_cannot_be_compared_is_said() {
        let error = |a: &str, b: &str| {
            let error = run(a, b, &exact()).unwrap_err();
            (error.exit_code(), error.to_string())
        };
        let twice = format!("{BASE}qwen,q,1.0,0.7,false\n");
        assert_eq!(
            error(&twice, BASE),
            (
                3,
                "a.csv: rows 2 and 5 have the same key model=qwen sae=q layer=1.0".into()
            )
        );
        let (code, text) = error(BASE, &BASE.replace("score", "skore"));
        assert!(
            code == 3 && text.contains("only the first has score; only the second has skore"),
            "{text}"
        );
        assert!(error("x,y\n1,2\n", "x,y\n1,2\n").1.contains("--key"));
        assert!(error("", BASE).1.contains("a.csv: it is empty"));
        assert!(error("k,x\n1\n", BASE).1.contains("a.csv"));
        assert!(error("k,k\n1,2\n", BASE).1.contains("two columns `k`"));
        let key = CompareOptions {
            key: vec!["modle".into()],
            ..exact()
        };
        assert!(
            run(BASE, BASE, &key)
                .unwrap_err()
                .to_string()
                .contains("did you mean `model`")
        );
    }

    #[test]
    fn a_file_without_the_names_of_saes_compares_with_one_that_has_them() {
        let old = "model,sae,layer,k,value\nqwen,q,1,8,0.5\nqwen,q,1,24,0.75\n";
        let new = "model,sae,sae_id,layer,k,value\nqwen,q,l1/trainer_0,1,8,0.5\nqwen,q,l1/trainer_1,1,24,0.5\n";
        for (a, b) in [(old, new), (new, old)] {
            let got = run(a, b, &exact()).unwrap();
            assert_eq!(got.key, ["model", "sae", "layer", "k"]);
            assert_eq!((got.rows, got.differences.len()), (2, 1));
            let text = report_text(&got);
            let name = if a == new { "a.csv" } else { "b.csv" };
            let note =
                format!("only {name} has the column `sae_id`: rows are matched without it\n");
            assert!(text.starts_with(&note), "{text}");
            assert!(report_markdown(&got).contains(note.trim()));
        }
        let twins = new.replace(",24,", ",8,");
        let error = run(&twins, old, &exact()).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        let text = error.to_string();
        assert!(
            text.contains("two SAEs of model=qwen sae=q layer=1 k=8") && text.contains("`sae_id`"),
            "{text}"
        );
        // Both have it: it is part of the key.
        let got = run(&twins, &twins, &exact()).unwrap();
        assert_eq!((got.rows, got.is_equal()), (2, true));
        // Without it nothing names a row, whichever file has it.
        let (with, without) = ("sae_id,value\nq,0.5\n", "value\n0.5\n");
        for (a, b) in [(with, without), (without, with)] {
            let error = run(a, b, &exact()).unwrap_err();
            assert!(matches!(error, CompareError::NoKey { .. }), "{error}");
        }
    }

    /// Every column is looked for in all, several times.
    #[test]
    fn a_table_of_very_many_columns_is_refused() {
        let names: Vec<String> = (0..5000).map(|i| format!("c{i}")).collect();
        let error = CsvTable::parse("a.csv", names.join(",").as_bytes()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("5000 columns, the limit is 4096")
        );
    }

    #[test]
    fn columns_can_be_left_out_and_keys_given() {
        let b = BASE.replace("0.5,true", "0.9,true");
        let options = CompareOptions {
            ignore: vec!["score".into()],
            ..exact()
        };
        assert!(run(BASE, &b, &options).unwrap().is_equal());
        let options = CompareOptions {
            key: vec!["x".into()],
            ..exact()
        };
        assert!(
            run("x,y\na,1\nb,2\n", "x,y\nb,2\na,1\n", &options)
                .unwrap()
                .is_equal()
        );
    }

    #[test]
    fn reports() {
        let got = run(BASE, &BASE.replace("0.5,true", "0.5001,true"), &exact()).unwrap();
        let text = report_text(&got);
        assert!(
            text.contains("model=qwen sae=q layer=1: score 0.5 against 0.5001"),
            "{text}"
        );
        assert!(
            report_markdown(&got).contains("| model=qwen sae=q layer=1 | score"),
            "{}",
            report_markdown(&got)
        );
        let same = run(BASE, BASE, &exact()).unwrap();
        assert_eq!(report_text(&same), "equal: 3 rows, 6 values\n");
        let hostile = run("k,x\n1,\u{1b}[31m<b>\n", "k,x\n1,y\n", &exact()).unwrap();
        assert!(
            !report_text(&hostile).contains('\u{1b}') && !report_markdown(&hostile).contains("<b>")
        );
    }

    proptest! {
        #[test]
        fn a_table_equals_itself_shuffled(rows in prop::collection::btree_map(0u32..50, -9f64..9.0, 1..12), turn in 0usize..12) {
            let mut lines: Vec<String> = rows.iter().map(|(k, v)| format!("{k},{v}")).collect();
            let text = |lines: &[String]| format!("k,value\n{}\n", lines.join("\n"));
            let a = text(&lines);
            let n = lines.len();
            lines.rotate_left(turn % n);
            prop_assert!(run(&a, &text(&lines), &exact()).unwrap().is_equal());
        }
    }
}
