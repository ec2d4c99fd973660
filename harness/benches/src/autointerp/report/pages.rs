//! The files of a report: a page for each SAE set, and their index.

use std::{collections::BTreeSet, panic::resume_unwind, thread};

use harness_core::{record::shown_k, twins::Twins};
use serde_json::json;

use super::{
    ReportError, Run, SaeCells, Steering,
    data::{SaeData, for_script},
    html::{escape, fill, policy},
    sae::Sae,
};

/// Data of a page at most; a larger set gets a page for each layer, a larger layer one for each k.
pub const MAX_PAGE_BYTES: usize = 64 << 20;
/// Characters of a file's name taken from a model's or set's name.
const MAX_NAME_CHARS: usize = 60;

const PAGE: &str = include_str!("page.html");
const INDEX: &str = include_str!("index.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = concat!(
    include_str!("dom.js"),
    include_str!("list.js"),
    include_str!("latent.js"),
    include_str!("page.js")
);

/// One file.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its name, e.g. `dream_dream-mask.html`.
    pub file_name: String,
    pub html: String,
    pub model: String,
    /// The SAE set.
    pub set: String,
    /// Layers, ascending.
    pub layers: Vec<u32>,
    /// Active budgets, ascending.
    pub ks: Vec<u32>,
    pub n_latents: u64,
    /// Of them, explained.
    pub n_explained: u64,
    /// Of them, scored.
    pub n_scored: u64,
    /// Of them, with steered texts.
    pub n_steered: u64,
    /// Mean score of those that count for their SAE; `None` without any.
    pub mean_score: Option<f64>,
}

/// The pages of a run, one set after the other: a set's pages are made together, and only one set
/// is in memory.
pub struct Pages<'a> {
    run: &'a Run,
    steering: Option<&'a Steering>,
    max_bytes: usize,
    next: usize,
    names: BTreeSet<String>,
}

/// Make the pages of a run. `max_bytes`: [`MAX_PAGE_BYTES`], or less.
pub fn pages<'a>(run: &'a Run, steering: Option<&'a Steering>, max_bytes: usize) -> Pages<'a> {
    Pages {
        run,
        steering,
        max_bytes,
        next: 0,
        names: BTreeSet::from(["index.html".to_owned()]),
    }
}

impl Pages<'_> {
    fn of_set(&mut self, cells: &[SaeCells]) -> Result<Vec<Page>, ReportError> {
        let saes = self.read(cells)?;
        let mut pages = Vec::new();
        for (part, saes) in parts(saes, self.max_bytes) {
            let first = &cells[0].params;
            let stem = format!(
                "{}_{}{part}",
                plain(&first.model.name),
                plain(&first.sae.set)
            );
            let file_name = self.free_name(&stem);
            let provenance = self.run.provenance.join(" ");
            pages.push(page(file_name, &cells[0], &saes, &provenance)?);
        }
        Ok(pages)
    }

    /// The SAEs of a set, a part of them by each core.
    fn read(&self, cells: &[SaeCells]) -> Result<Vec<SaeData>, ReportError> {
        let (dir, steering) = (&self.run.dir, self.steering);
        let place = |cells: &SaeCells| (cells.params.sae.layer, cells.params.sae.k);
        let twins = Twins::among(cells.iter().map(|sae| (place(sae), &*sae.sae_id)));
        let read = |cells: &SaeCells| {
            let twin = twins.name(&place(cells), &cells.sae_id);
            SaeData::new(&Sae::read(dir, cells)?, twin, steering)
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let parts = cells.chunks(cells.len().div_ceil(cores).max(1));
        thread::scope(|scope| {
            let started: Vec<_> = parts
                .map(|part| scope.spawn(move || part.iter().map(read).collect()))
                .collect();
            let mut saes = Vec::with_capacity(cells.len());
            for thread in started {
                let part: Result<Vec<SaeData>, ReportError> =
                    thread.join().unwrap_or_else(|panic| resume_unwind(panic));
                saes.extend(part?);
            }
            Ok(saes)
        })
    }

    /// A name no other page has, whatever the case of its letters.
    fn free_name(&mut self, stem: &str) -> String {
        let mut name = format!("{stem}.html");
        let mut n = 2;
        while !self.names.insert(name.to_lowercase()) {
            name = format!("{stem}-{n}.html");
            n += 1;
        }
        name
    }
}

impl Iterator for Pages<'_> {
    type Item = Result<Vec<Page>, ReportError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.run.saes.get(self.next..)?;
        let key = rest.first()?.set_key();
        let n = rest.iter().take_while(|sae| sae.set_key() == key).count();
        self.next += n;
        Some(self.of_set(&rest[..n]))
    }
}

/// A name without anything that a file system, an address or a shell reads.
pub(super) fn plain(name: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let kept = name.chars().map(|c| if keep(c) { c } else { '-' });
    let kept: String = kept.take(MAX_NAME_CHARS).collect();
    match kept.trim_matches('.') {
        "" => "unnamed".to_owned(),
        kept => kept.to_owned(),
    }
}

/// The SAEs of each page with the end of its name: all together, or by layer, or by layer and k.
fn parts(saes: Vec<SaeData>, max_bytes: usize) -> Vec<(String, Vec<SaeData>)> {
    let size = |saes: &[SaeData]| saes.iter().map(|sae| sae.details.len()).sum::<usize>();
    if size(&saes) <= max_bytes {
        return vec![(String::new(), saes)];
    }
    let mut layers: Vec<Vec<SaeData>> = Vec::new();
    for sae in saes {
        match layers.last_mut() {
            Some(layer) if layer[0].layer == sae.layer => layer.push(sae),
            _ => layers.push(vec![sae]),
        }
    }
    let mut parts = Vec::new();
    for layer in layers {
        let name = format!("_layer{}", layer[0].layer);
        if size(&layer) <= max_bytes {
            parts.push((name, layer));
        } else {
            let one = |sae: SaeData| (format!("{name}_k{}", shown_k(sae.k)), vec![sae]);
            parts.extend(layer.into_iter().map(one));
        }
    }
    parts
}

fn page(
    file_name: String,
    cells: &SaeCells,
    saes: &[SaeData],
    provenance: &str,
) -> Result<Page, ReportError> {
    let (model, set) = (&cells.params.model.name, &cells.params.sae.set);
    let heads: Vec<_> = saes.iter().map(|sae| &sae.head).collect();
    let rows: Vec<_> = saes.iter().map(|sae| &sae.rows).collect();
    let list = for_script(&json!({"model": model, "set": set, "saes": heads, "rows": rows}))?;
    let mut blocks = String::new();
    for (i, sae) in saes.iter().enumerate() {
        blocks.push_str(&format!(
            "<script type=\"application/json\" id=\"sae-{i}\">"
        ));
        blocks.push_str(&sae.details);
        blocks.push_str("</script>\n");
    }
    let title = format!("{set} on {model}");
    let html = fill(
        PAGE,
        &[
            ("policy", &policy(Some(SCRIPT), STYLE)),
            ("title", &escape(&title)),
            ("provenance", &escape(provenance)),
            ("style", STYLE),
            ("list", &list),
            ("saes", &blocks),
            ("script", SCRIPT),
        ],
    );
    let sum = |of: fn(&SaeData) -> u64| saes.iter().map(of).sum::<u64>();
    let unique = |of: fn(&SaeData) -> Option<u32>| -> Vec<u32> {
        let all: BTreeSet<u32> = saes.iter().filter_map(of).collect();
        all.into_iter().collect()
    };
    let n_counted = sum(|sae| sae.scores.1);
    let total: f64 = saes.iter().map(|sae| sae.scores.0).sum();
    Ok(Page {
        file_name,
        html,
        model: model.clone(),
        set: set.clone(),
        layers: unique(|sae| Some(sae.layer)),
        ks: unique(|sae| sae.k),
        n_latents: sum(|sae| sae.n_latents),
        n_explained: sum(|sae| sae.n_explained),
        n_scored: sum(|sae| sae.n_scored),
        n_steered: sum(|sae| sae.n_steered),
        mean_score: (n_counted > 0).then(|| total / n_counted as f64),
    })
}

impl Page {
    /// The index of pages. `pages` may have lost their `html`; `provenance` says whose models and
    /// text they are of.
    pub fn index(pages: &[Page], provenance: &[String]) -> String {
        let mut rows = String::new();
        for page in pages {
            let list = |numbers: &[u32]| {
                let texts: Vec<String> = numbers.iter().map(u32::to_string).collect();
                texts.join(", ")
            };
            let mean = page
                .mean_score
                .map_or("–".to_owned(), |m| format!("{m:.3}"));
            rows.push_str(&format!(
                "<tr><th scope=\"row\"><a href=\"{}\">{}</a></th><td>{}</td><td>{}</td><td>{}</td>\
                 <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{mean}</td></tr>\n",
                escape(&page.file_name),
                escape(&page.set),
                escape(&page.model),
                list(&page.layers),
                list(&page.ks),
                page.n_latents,
                page.n_explained,
                page.n_scored,
            ));
        }
        let values = [
            ("policy", policy(None, STYLE)),
            ("style", STYLE.to_owned()),
            ("rows", rows),
            ("provenance", escape(&provenance.join(" "))),
        ];
        let values: Vec<(&str, &str)> = values.iter().map(|(n, v)| (*n, v.as_str())).collect();
        fill(INDEX, &values)
    }
}
