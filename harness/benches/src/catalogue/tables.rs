//! Rows of Tables 1 and 3, from what the files of SAE sets say, with the paper's own beside them.

use harness_core::record::Status;
use harness_plan::inspect::{InspectedSae, InspectedSet};
use harness_present::{
    Column, optional,
    text_table::{Align::*, Style, TextTable},
};

const PAPER_TABLE1: &str = include_str!("../../../../results/paper/table1.csv");
const PAPER_TABLE3: &str = include_str!("../../../../results/paper/table3.csv");

/// Attributes of Table 1 in its order.
const ATTRIBUTES: [&str; 6] = [
    "Model",
    "Training Data",
    "Activation function",
    "Insertion layers",
    "Insertion site",
    "SAE width",
];

/// Families by the beginning of a model's or set's name, with the paper's SAE (Table 1) and model
/// (Table 3).
const PAPER_NAMES: [(&str, &str, &str); 4] = [
    ("dream", "Dream-SAE", "Dream-7B"),
    ("llada", "LLaDA-SAE", "LLaDA-8B"),
    ("qwen", "Qwen-SAE", "Qwen-2.5-7B"),
    ("llama", "LLaMA-SAE", "LLaMA-3-8B"),
];

/// One value of table1.csv.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table1Row {
    pub sae: String,
    pub attribute: String,
    pub value: Option<String>,
}

/// One SAE set: a row of table3.csv.
#[derive(Clone, Debug, PartialEq)]
pub struct Table3Row {
    pub model: Option<String>,
    pub sae: String,
    pub tokens: Option<u64>,
    pub n_saes: Option<u64>,
    pub arch: Option<String>,
    pub disk_per_sae: Option<String>,
    pub batch_size: Option<u64>,
    pub context_length: Option<u64>,
    pub sae_batch_size: Option<u64>,
    pub gpu: Option<String>,
    pub gpu_count: Option<u64>,
    pub gpu_model: Option<String>,
    pub bytes_per_sae: Option<f64>,
    pub seconds_per_sae: Option<f64>,
    pub status: Status,
}

impl Table3Row {
    /// The row of a set that could not be found.
    pub fn missing(model: &str, sae: &str) -> Table3Row {
        Table3Row {
            model: Some(model.to_owned()),
            sae: sae.to_owned(),
            tokens: None,
            n_saes: None,
            arch: None,
            disk_per_sae: None,
            batch_size: None,
            context_length: None,
            sae_batch_size: None,
            gpu: None,
            gpu_count: None,
            gpu_model: None,
            bytes_per_sae: None,
            seconds_per_sae: None,
            status: Status::Missing,
        }
    }
}

/// Rows of Table 1: attribute by attribute, each for all sets in their order.
pub fn table1_rows(sets: &[InspectedSet]) -> Vec<Table1Row> {
    let mut rows = Vec::new();
    for attribute in ATTRIBUTES {
        for set in sets {
            rows.push(Table1Row {
                sae: set.name.clone(),
                attribute: attribute.to_owned(),
                value: attribute_of(set, attribute),
            });
        }
    }
    rows
}

fn attribute_of(set: &InspectedSet, attribute: &str) -> Option<String> {
    match attribute {
        "Model" => set.common(|sae| sae.model.clone()),
        "Training Data" => {
            let hashes = set.common(|sae| sae.training.data.clone())?;
            let first = hashes.first()?.get(..12)?;
            Some(match hashes.len() {
                1 => format!("text, SHA-256 {first}"),
                n => format!("{n} texts, the first of SHA-256 {first}"),
            })
        }
        "Activation function" => set.common(arch_of).map(|name| match &*name {
            "TopK" => "ReLU+TopK".to_owned(),
            _ => name,
        }),
        "Insertion layers" => {
            let layers: Vec<String> = set.layers().iter().map(ToString::to_string).collect();
            (!layers.is_empty()).then(|| layers.join(", "))
        }
        "Insertion site" => {
            let site = set.common(|sae| sae.site.clone())?;
            Some(match site.as_str() {
                "resid_post" => "residual stream".to_owned(),
                _ => site,
            })
        }
        "SAE width" => {
            let width = set.common(|sae| Some(sae.d_sae))?;
            Some(match width % 1024 {
                0 => format!("{}K", width / 1024),
                _ => width.to_string(),
            })
        }
        _ => None,
    }
}

fn arch_of(sae: &InspectedSae) -> Option<String> {
    let name = sae.architecture.as_deref()?;
    Some(match name {
        "topk" => "TopK".to_owned(),
        _ => name.to_owned(),
    })
}

/// Rows of Table 3, one for each set in their order.
pub fn table3_rows(sets: &[InspectedSet]) -> Vec<Table3Row> {
    sets.iter().map(table3_row).collect()
}

fn table3_row(set: &InspectedSet) -> Table3Row {
    let n = set.saes.len() as u64;
    let bytes: u64 = set.saes.iter().map(|sae| sae.bytes).sum();
    let bytes_per_sae = (n > 0).then(|| bytes as f64 / n as f64);
    let seconds: Option<f64> = set.saes.iter().map(|sae| sae.seconds).sum();
    let gpu_count = set.runtime.as_ref().map(|r| match r.device.as_str() {
        "cpu" => 0,
        _ => 1,
    });
    let mut row = Table3Row {
        model: set.common(|sae| sae.model.clone()),
        sae: set.name.clone(),
        tokens: set.common(|sae| sae.training.tokens),
        n_saes: Some(n),
        arch: set.common(arch_of),
        disk_per_sae: bytes_per_sae.map(size),
        batch_size: set.common(|sae| sae.training.model_batch),
        context_length: set.common(|sae| sae.training.context_length),
        sae_batch_size: set.common(|sae| sae.training.batch),
        gpu: None,
        gpu_count,
        gpu_model: None,
        bytes_per_sae,
        seconds_per_sae: seconds.filter(|_| n > 0).map(|sum| sum / n as f64),
        status: Status::Ok,
    };
    let is_whole = row.model.is_some()
        && row.tokens.is_some()
        && row.arch.is_some()
        && row.context_length.is_some()
        && row.sae_batch_size.is_some();
    if !is_whole {
        row.status = Status::Partial;
    }
    row
}

/// Bytes in units of 1024, to three digits: `448M`, `1.5G`.
pub fn size(bytes: f64) -> String {
    let units = ["", "K", "M", "G", "T"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 10.0);
    format!("{value:.digits$}{}", units[unit])
}

/// Columns of table1.csv, those of the paper's table.
pub fn table1_columns() -> Vec<Column<Table1Row>> {
    vec![
        Column::key("sae", "SAE set", |r| r.sae.clone()),
        Column::key(
            "attribute",
            "in the words of the paper's table: `Model`, `Training Data`, `Activation function`, \
             `Insertion layers`, `Insertion site`, `SAE width`",
            |r| r.attribute.clone(),
        ),
        Column::value(
            "value",
            "",
            "empty where no file of the set states it, or its SAEs differ; text is named by the \
             first 12 digits of its SHA-256",
            |r| optional(r.value.as_ref()),
        ),
    ]
}

/// Columns of table3.csv: those of the paper's table with the set's name, and then ours.
pub fn table3_columns() -> Vec<Column<Table3Row>> {
    vec![
        Column::key("model", "model the set was trained on", |r| {
            optional(r.model.as_ref())
        }),
        Column::key("sae", "SAE set", |r| r.sae.clone()),
        Column::value(
            "tokens",
            "count",
            "activations each SAE was trained on",
            |r| optional(r.tokens),
        ),
        Column::value("n_saes", "count", "SAEs of the set", |r| optional(r.n_saes)),
        Column::value("arch", "", "`TopK`", |r| optional(r.arch.as_ref())),
        Column::value(
            "disk_per_sae",
            "",
            "`bytes_per_sae` in units of 1024, rounded to the nearest",
            |r| optional(r.disk_per_sae.as_ref()),
        ),
        Column::value("batch_size", "count", "texts of a model pass", |r| {
            optional(r.batch_size)
        }),
        Column::value("context_length", "count", "tokens of a text", |r| {
            optional(r.context_length)
        }),
        Column::value(
            "sae_batch_size",
            "count",
            "activations of an optimiser step",
            |r| optional(r.sae_batch_size),
        ),
        Column::value(
            "gpu",
            "",
            "GPUs in the paper's writing; empty without any, or where they are not known",
            |r| optional(r.gpu.as_ref()),
        ),
        Column::value(
            "gpu_count",
            "count",
            "0 for a set trained on a CPU; empty where the set has no record of its time",
            |r| optional(r.gpu_count),
        ),
        Column::value("gpu_model", "", "empty where it is not recorded", |r| {
            optional(r.gpu_model.as_ref())
        }),
        Column::value(
            "bytes_per_sae",
            "bytes",
            "mean over the set of the sizes of an SAE's files",
            |r| optional(r.bytes_per_sae),
        ),
        Column::value(
            "seconds_per_sae",
            "s",
            "mean measured time, from `runtime.json`: an SAE's own steps and an even share of passes \
             and rows; depends on the machine",
            |r| optional(r.seconds_per_sae),
        ),
        Column::value(
            "status",
            "",
            "`ok`; `partial` where the model, tokens, architecture, context length or batch is not \
             stated or differs between SAEs; `missing` without a set",
            |r| r.status.to_string(),
        ),
    ]
}

/// Table 1 as text, beside the paper's of the same family.
pub fn print_table1(rows: &[Table1Row], style: Style) -> String {
    let mut table = TextTable::new(&[
        ("attribute", Left),
        ("SAE", Left),
        ("value", Left),
        ("paper", Left),
        ("value", Left),
    ]);
    let paper = paper(PAPER_TABLE1);
    for row in rows {
        let mut fields = vec![
            row.attribute.clone(),
            row.sae.clone(),
            row.value.clone().unwrap_or_else(|| "-".to_owned()),
        ];
        let theirs = paper_names(&row.sae).and_then(|(name, _)| {
            paper
                .iter()
                .find(|r| r.first() == Some(&name.to_owned()) && r.get(1) == Some(&row.attribute))
        });
        if let Some(theirs) = theirs {
            fields.extend([theirs[0].clone(), theirs[2].clone()]);
        }
        table.row(fields);
    }
    table.render(style)
}

/// Table 3 as text, beside the paper's of the same family.
pub fn print_table3(rows: &[Table3Row], style: Style) -> String {
    let mut table = TextTable::new(&[
        ("model", Left),
        ("SAE", Left),
        ("tokens", Right),
        ("SAEs", Right),
        ("arch", Left),
        ("disk/SAE", Right),
        ("batch", Right),
        ("context", Right),
        ("SAE batch", Right),
        ("s/SAE", Right),
        ("paper", Left),
        ("tokens", Right),
        ("SAEs", Right),
        ("disk/SAE", Right),
        ("GPU", Left),
    ]);
    let count = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let text = |t: &Option<String>| t.clone().unwrap_or_else(|| "-".to_owned());
    let paper = paper(PAPER_TABLE3);
    for row in rows {
        let mut fields = vec![
            text(&row.model),
            row.sae.clone(),
            row.tokens
                .map_or_else(|| "-".to_owned(), |n| thousands(n as f64)),
            count(row.n_saes),
            text(&row.arch),
            text(&row.disk_per_sae),
            count(row.batch_size),
            count(row.context_length),
            count(row.sae_batch_size),
            row.seconds_per_sae
                .map_or_else(|| "-".to_owned(), |s| format!("{s:.1}")),
        ];
        let names =
            paper_names(row.model.as_deref().unwrap_or_default()).or_else(|| paper_names(&row.sae));
        let theirs = names.and_then(|(_, model)| {
            paper
                .iter()
                .find(|r| r.first().is_some_and(|name| name == model))
        });
        if let Some(theirs) = theirs {
            // model, tokens, n_saes, disk_per_sae, gpu
            fields.extend([0, 1, 2, 4, 8].map(|i| theirs.get(i).cloned().unwrap_or_default()));
        }
        table.row(fields);
    }
    table.render(style)
}

/// A count in thousands or millions, to three digits: `500K`, `150M`.
pub(super) fn thousands(n: f64) -> String {
    let (value, unit) = match n {
        n if n >= 1e6 => (n / 1e6, "M"),
        n if n >= 1e3 => (n / 1e3, "K"),
        n => (n, ""),
    };
    let digits = usize::from(!unit.is_empty() && value < 10.0);
    format!("{value:.digits$}{unit}")
}

/// The paper's SAE and model of the family that a model's or set's name begins with.
fn paper_names(name: &str) -> Option<(&'static str, &'static str)> {
    let name = name.to_lowercase();
    PAPER_NAMES
        .iter()
        .find(|(family, ..)| name.starts_with(family))
        .map(|(_, sae, model)| (*sae, *model))
}

fn paper(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let records = reader.records().flatten();
    records
        .map(|record| record.iter().map(str::to_owned).collect())
        .collect()
}
