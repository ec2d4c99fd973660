//! Perplexity against the reference scorer.

use harness_engine::generate::token_perplexity;
use tch::{Kind, Tensor};

use super::setting::{Family, golden, registry};

#[test]
fn perplexity_equals_the_reference() {
    let Some(golden) = golden() else { return };
    let registry = registry();
    let mut family = Family::load(&golden, &registry, "gpt2");
    let forward: std::collections::HashMap<String, Tensor> =
        Tensor::read_safetensors(golden.join("gpt2/golden/forward.safetensors"))
            .unwrap()
            .into_iter()
            .collect();
    let (mut rows, mut want) = (Vec::new(), Vec::new());
    for (case, about) in family.manifest["cases"].as_object().unwrap() {
        let read = |what: &str| -> Vec<Vec<i64>> {
            (&forward[&format!("{case}.{what}")].to_kind(Kind::Int64))
                .try_into()
                .unwrap()
        };
        let values = about["perplexity_per_row"].as_array().unwrap();
        for ((ids, mask), value) in read("input_ids")
            .into_iter()
            .zip(read("attention_mask"))
            .zip(values)
        {
            rows.push(
                ids.into_iter()
                    .zip(mask)
                    .filter(|(_, m)| *m != 0)
                    .map(|(id, _)| id)
                    .collect::<Vec<_>>(),
            );
            want.push(value.as_f64());
        }
    }
    assert!(rows.len() > 4);
    rows.push(vec![]);
    want.push(None);
    let got = token_perplexity(&mut family.model, &rows, 512).unwrap();
    for ((row, got), want) in rows.iter().zip(&got).zip(&want) {
        match (row.len(), got, want) {
            (0 | 1, None, _) => {}
            // The tolerance of a loss, 1e-4, relative because of the exponential.
            (_, Some(got), Some(want)) => assert!((got / want - 1.0).abs() < 1e-4, "{got} {want}"),
            other => panic!("{other:?}"),
        }
    }
    // A cut text has the perplexity of its beginning, and company changes nothing.
    let long = rows.iter().max_by_key(|row| row.len()).unwrap();
    let cut =
        token_perplexity(&mut family.model, std::slice::from_ref(long), 9).unwrap()[0].unwrap();
    let begin = token_perplexity(
        &mut family.model,
        &[rows[0].clone(), long[..9].to_vec()],
        512,
    )
    .unwrap()[1]
        .unwrap();
    assert!((cut / begin - 1.0).abs() < 1e-6);
    let mut dream = Family::load(&golden, &registry, "dream");
    assert!(token_perplexity(&mut dream.model, &rows, 512).is_err());
}
