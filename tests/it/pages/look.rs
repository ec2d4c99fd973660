//! The pages in a browser.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Instant,
};

use harness_store::{Access, Store};
use serde_json::Value;

use super::{
    browser::{self, Browser},
    fixture::{self, Spec},
};
use crate::support::{harness, succeed};

/// SAEs and latents of the large set, e.g. `36x1000`; the report of [`a_large_set_is_quick`] says
/// how large its page was.
const SIZE_VARIABLE: &str = "HARNESS_PAGES_SIZE";
/// Folder in which that set stays.
const KEEP_VARIABLE: &str = "HARNESS_PAGES_DIR";

/// Tokens that would be something else than text if they were not handled as text.
const HOSTILE: [&str; 12] = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "<!--<script>",
    "&amp;",
    "\"'`",
    "\u{202e}right to left\u{202c}",
    "\u{200f}\u{feff}",
    "a\u{0}b\u{1b}[2J\u{7f}",
    "\u{fffd}",
    "{{script}}",
    "\u{2028}\u{2029}",
    "javascript:alert(3)",
];

fn pages(run: &Path, more: &[&str]) -> PathBuf {
    succeed(harness().args(["report", "features"]).arg(run).args(more));
    run.join("pages")
}

/// A run with a latent for each hostile token.
fn hostile_run(run: &Path) {
    let spec = Spec::small();
    let store = Store::open(run, Access::Write).unwrap();
    let latents = (0..)
        .zip(HOSTILE)
        .map(|(i, token)| fixture::latent_of(i, token));
    fixture::put_sae(&store, &spec, 2, 8, latents.collect(), "lexical-1");
}

#[test]
fn hostile_text_stays_text() {
    let Some(program) = browser::find() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (run, steered) = (dir.path().join("run"), dir.path().join("steered"));
    hostile_run(&run);
    let all = HOSTILE.concat();
    fixture::write_steering(&steered, &Spec::small(), 2, 8, 0, &all);
    let pages = pages(&run, &["--steering", steered.to_str().unwrap()]);
    let page = pages.join("dream_dream-mask.html");
    let mut browser = Browser::start(&program);
    for (i, token) in HOSTILE.iter().enumerate() {
        browser.open(&page, &format!("#latent=2.8.{i}"));
        browser.wait("document.querySelectorAll('#latent-pane .window').length > 0");
        let shown = browser.text("document.querySelector('#latent-pane .context bdi').textContent");
        let text = browser.text("document.body.textContent");
        let title = browser.text("document.querySelector('#latent-pane .context bdi').title");
        if token
            .chars()
            .all(|c| ('!'..='\u{7e}').contains(&c) || c == ' ')
        {
            assert_eq!(shown, *token);
            assert!(title.contains(token));
            assert!(text.contains(token));
        } else {
            let unseen =
                |c: char| c.is_control() || "\u{202e}\u{200f}\u{feff}\u{2028}\u{2029}".contains(c);
            assert!(!shown.contains(unseen) && !shown.is_empty(), "{shown:?}");
        }
        let foreign = "[...document.querySelectorAll('body *')].filter(e => ['IMG', 'IFRAME', 'OBJECT', 'EMBED', 'VIDEO', 'AUDIO', 'BASE', \
             'META', 'LINK', 'STYLE'].includes(e.tagName) || [...e.attributes].some(a => a.name.startsWith('on'))).length";
        assert_eq!(browser.eval(foreign), 0);
        // The list, one SAE, the script.
        assert_eq!(
            browser.eval("document.querySelectorAll('script').length"),
            3
        );
        let leading = "[...document.querySelectorAll('[src], [href], [action], [data]')].map(e => e.getAttribute('href') ?? 'source')\
             .filter(a => !(a.startsWith('#') || a === 'index.html' || a === 'data:,')).join()";
        assert_eq!(browser.text(leading), "");
        assert_eq!(browser.complaints(), Vec::<String>::new());
        for request in browser.requests() {
            let is_own =
                request.starts_with("file://") && request.contains("dream_dream-mask.html");
            assert!(
                is_own || request == "data:," || request == "about:blank",
                "{request}"
            );
        }
    }
    browser.open(&page, "#latent=2.8.0");
    let steered = browser.text("document.querySelector('.pairs').textContent");
    assert!(
        steered.contains(HOSTILE[0]) && steered.contains(HOSTILE[1]),
        "{steered}"
    );
}

/// Without this the test above could pass because it sees nothing.
#[test]
fn the_policy_is_in_force_and_seen() {
    let Some(program) = browser::find() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    hostile_run(dir.path());
    let page = pages(dir.path(), &[]).join("dream_dream-mask.html");
    let mut browser = Browser::start(&program);
    browser.open(&page, "");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    browser.eval("document.body.append(Object.assign(document.createElement('img'), {src: 'https://example.org/x.png'}))");
    browser.wait("true");
    assert!(
        browser.complaints().iter().any(|c| c.contains("img-src")),
        "{:?}",
        browser.complaints()
    );
    assert!(browser.throws("document.body.innerHTML = '<b>x</b>'"));
    browser.eval("document.body.setAttribute('style', 'color: red')");
    assert_ne!(
        browser.text("getComputedStyle(document.body).color"),
        "rgb(255, 0, 0)"
    );

    // A page whose script was changed does not run.
    let html = fs::read_to_string(&page).unwrap();
    let changed = dir.path().join("changed.html");
    fs::write(
        &changed,
        html.replace("\"use strict\";", "\"use strict\"; "),
    )
    .unwrap();
    browser.open(&changed, "");
    assert_eq!(
        browser.text("document.querySelector('#count').textContent"),
        ""
    );
    assert!(!browser.complaints().is_empty());
}

#[test]
fn keys_reach_everything() {
    let Some(program) = browser::find() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    fixture::write(dir.path(), &Spec::small());
    let page = pages(dir.path(), &[]).join("dream_dream-mask.html");
    let mut browser = Browser::start(&program);
    browser.open(&page, "");
    let count = "document.querySelector('#count').textContent";
    let opened = "document.querySelector('#latent-pane strong')?.textContent ?? ''";
    let current = "document.getElementById(document.querySelector('#grid').getAttribute('aria-activedescendant')).innerText";
    assert_eq!(browser.text(count), "160 latents");
    // Far fewer rows than latents are in the document.
    let rows = browser.eval("document.querySelectorAll('#rows .row').length");
    assert!(rows.as_u64().unwrap() < 60, "{rows}");
    let said = browser.text("document.querySelector('#rows .said').textContent");
    let word = said
        .trim_start_matches("words: ")
        .split(',')
        .next()
        .unwrap()
        .to_owned();

    browser.press("/");
    assert_eq!(browser.text("document.activeElement.id"), "search");
    browser.type_in(&word);
    let found = browser.text(count);
    assert!(
        found.ends_with(" of 160 latents") && !found.starts_with("0 "),
        "{found}"
    );
    let all_have_it = format!(
        "[...document.querySelectorAll('#rows .row .explanation')].every(e => e.textContent.toLowerCase().includes({word:?}.toLowerCase()))"
    );
    assert_eq!(browser.eval(&all_have_it), true);
    browser.press("Escape");
    assert_eq!(browser.text("document.activeElement.id"), "grid");
    browser.press("/");
    browser.type_in(" nowhere-to-be-found");
    assert_eq!(browser.text(count), "0 of 160 latents");
    browser.eval("document.querySelector('#search').select()");
    browser.press(" ");
    assert_eq!(browser.text(count), "160 latents");

    browser.press("Enter");
    let first = browser.text(current);
    browser.press("j");
    browser.press("ArrowDown");
    browser.press("k");
    assert_ne!(browser.text(current), first);
    browser.press("ArrowUp");
    assert_eq!(browser.text(current), first);
    browser.press("End");
    assert_ne!(browser.text(current), first);
    browser.press("Home");
    browser.press("Enter");
    let latent = browser.text(opened);
    assert!(latent.starts_with("Latent "), "{latent}");
    assert_eq!(browser.text("document.activeElement.id"), "latent-pane");
    assert!(browser.text("location.hash").starts_with("#latent="));

    // Into a window of text, and from token to token.
    for _ in 0..40 {
        if browser.text("document.activeElement.className") == "context" {
            break;
        }
        browser.press("Tab");
    }
    browser.press("ArrowRight");
    let token = "document.activeElement.closest('.window').querySelector('.readout').textContent";
    let strongest = browser.text(token);
    assert!(strongest.starts_with('\u{201c}'), "{strongest}");
    browser.press("ArrowRight");
    assert_ne!(
        browser.text("document.activeElement.dataset.name"),
        strongest
    );

    browser.press("j");
    assert_ne!(browser.text(opened), latent);
    browser.eval("history.back()");
    browser.wait(&format!("({opened}) === {latent:?}"));
    browser.press("Escape");
    assert_eq!(browser.text(opened), "");
    assert_eq!(browser.text("document.activeElement.id"), "grid");
    browser.press("?");
    assert_eq!(browser.eval("document.querySelector('#help').open"), true);
    browser.press("Escape");
    assert_eq!(browser.eval("document.querySelector('#help').open"), false);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn an_address_says_what_is_seen() {
    let Some(program) = browser::find() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    fixture::write(dir.path(), &Spec::small());
    let page = pages(dir.path(), &[]).join("dream_dream-mask.html");
    let mut browser = Browser::start(&program);
    browser.open(&page, "#latent=5.24.49&layer=5&k=24&sort=latent");
    let opened = "document.querySelector('#latent-pane .where').innerText";
    let text = browser.text(opened);
    assert!(
        text.contains("Latent 49") && text.contains("layer 5, k 24"),
        "{text}"
    );
    assert_eq!(
        browser.text("document.querySelector('#count').textContent"),
        "40 of 160 latents"
    );
    let numbers = "[...document.querySelectorAll('#rows .row .latent')].map(e => Number(e.firstChild.textContent))";
    let numbers: Vec<u64> = serde_json::from_value(browser.eval(numbers)).unwrap();
    assert!(numbers.len() > 5 && numbers.is_sorted(), "{numbers:?}");
    // Sorted by its button, largest first at the second press.
    for _ in 0..2 {
        browser.eval("document.querySelector('.score button').click()");
    }
    let scores = "[...document.querySelectorAll('#rows .row .score')].map(e => e.textContent).filter(t => t !== '\u{2013}').map(Number)";
    let scores: Vec<f64> = serde_json::from_value(browser.eval(scores)).unwrap();
    assert!(scores.len() > 5 && scores.is_sorted(), "{scores:?}");
    assert!(browser.text("location.hash").contains("sort=score"));
    // A latent that is not there is said to be missing, as text.
    browser.open(&page, "#latent=%3Cb%3E9%3C/b%3E");
    let said = browser.text("document.querySelector('#latent-pane [role=alert]').textContent");
    assert_eq!(said, "No latent <b>9</b> on this page.");
}

#[test]
fn both_schemes_are_legible_and_a_phone_shows_one_pane() {
    let Some(program) = browser::find() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    fixture::write(dir.path(), &Spec::small());
    let page = pages(dir.path(), &[]).join("dream_dream-mask.html");
    let mut browser = Browser::start(&program);
    let back = "getComputedStyle(document.body).backgroundColor";
    let mut backs = Vec::new();
    for scheme in ["light", "dark"] {
        browser.scheme(scheme);
        browser.open(&page, "#latent=2.8.0");
        backs.push(browser.text(back));
        let least = browser.eval(CONTRAST).as_f64().unwrap();
        assert!(
            least >= 4.5,
            "{scheme}: the least contrast of text is {least:.2}"
        );
    }
    assert_ne!(backs[0], backs[1]);
    // The button goes system, light, dark, and holds against the system.
    browser.eval("document.querySelector('#theme').click()");
    assert_eq!(browser.text(back), backs[0]);
    browser.eval("document.querySelector('#theme').click()");
    assert_eq!(browser.text(back), backs[1]);

    browser.size(390, 800);
    let is_shown = |id: &str| format!("document.querySelector('{id}').getClientRects().length > 0");
    assert_eq!(browser.eval(&is_shown("#list-pane")), false);
    assert_eq!(browser.eval(&is_shown("#latent-pane")), true);
    assert_eq!(browser.eval("document.documentElement.scrollWidth"), 390);
    browser.eval("document.querySelector('.back').click()");
    assert_eq!(browser.eval(&is_shown("#list-pane")), true);
    assert_eq!(browser.eval("document.documentElement.scrollWidth"), 390);
}

/// The least contrast (WCAG) of any text that is seen with what is behind it.
const CONTRAST: &str = r"(() => {
  const parse = (c) => { const m = c.match(/[\d.]+/g).map(Number); return m.length > 3 && m[3] === 0 ? null : m.slice(0, 3); };
  const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c) return c; } return [255, 255, 255]; };
  let least = 21;
  for (const e of document.querySelectorAll('body *')) {
    if (!e.getClientRects().length || ![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    const style = getComputedStyle(e);
    const [a, b] = [light(parse(e.closest('svg') ? style.fill : style.color)), light(behind(e))];
    least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return least;
})()";

#[test]
fn a_large_set_is_quick() {
    let size = env::var(SIZE_VARIABLE).unwrap_or_else(|_| "6x100".to_owned());
    let (saes, latents) = size.split_once('x').unwrap();
    let (saes, n_latents): (u32, u32) = (saes.parse().unwrap(), latents.parse().unwrap());
    let temporary = tempfile::tempdir().unwrap();
    let kept = env::var_os(KEEP_VARIABLE).map(PathBuf::from);
    let dir = kept.unwrap_or_else(|| temporary.path().to_path_buf());
    let spec = Spec {
        layers: (0..saes.div_ceil(6)).collect(),
        ks: (0..6.min(saes)).map(|i| 10 + 10 * i).collect(),
        n_latents,
        ..Spec::small()
    };
    fixture::write(&dir, &spec);
    let started = Instant::now();
    let pages = pages(&dir, &[]);
    let seconds = started.elapsed().as_secs_f64();
    let mut files: Vec<PathBuf> = fs::read_dir(&pages)
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    files.retain(|file| file.file_name().is_some_and(|name| name != "index.html"));
    files.sort();
    let bytes = |file: &PathBuf| fs::metadata(file).unwrap().len() as f64 / 1e6;
    eprintln!(
        "{size} latents: {} pages, {:.1} MB the first, made in {seconds:.2} s",
        files.len(),
        bytes(&files[0])
    );
    let Some(program) = browser::find() else {
        return;
    };
    let mut browser = Browser::start(&program);
    browser.open(&files[0], "");
    let event = "performance.getEntriesByType('navigation')[0].loadEventEnd";
    browser.wait(&format!("{event} > 0"));
    let load = browser.eval(event).as_f64().unwrap();
    let timed = |browser: &mut Browser, what: &str| -> f64 {
        let script = format!(
            "(() => {{ const t = performance.now(); {what}; document.body.offsetHeight; return performance.now() - t; }})()"
        );
        let time: Value = browser.eval(&script);
        time.as_f64().unwrap()
    };
    let open = timed(&mut browser, "document.querySelector('#rows .row').click()");
    let search = timed(
        &mut browser,
        "const s = document.querySelector('#search'); s.value = 'er'; s.dispatchEvent(new Event('input'))",
    );
    eprintln!(
        "loaded in {load:.0} ms, a latent opened in {open:.0} ms, searched in {search:.0} ms"
    );
    assert!(load < 10_000.0 && open < 2_000.0 && search < 1_000.0);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
