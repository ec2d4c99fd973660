// One latent: what is known of it, drawn when it is opened.

const SHADES = 8;

const blocks = new Map();

// Details of an SAE, read once.
function block(sae) {
  if (!blocks.has(sae)) blocks.set(sae, JSON.parse(byId("sae-" + sae).textContent));
  return blocks.get(sae);
}

function section(title, ...children) {
  return el("section", {}, el("h3", { textContent: title }), ...children);
}

function facts(pairs) {
  return el("dl", { className: "facts" }, pairs.map(([name, value, more]) =>
    el("div", {}, el("dt", { textContent: name }),
      el("dd", {}, value, more ? el("span", { className: "quiet", textContent: " " + more }) : null))));
}

// Activations of one latent with as many decimals as its largest needs.
function level(act, max) {
  return act === 0 ? "0" : act.toFixed(max >= 100 ? 0 : max >= 10 ? 1 : max >= 0.1 ? 2 : 4);
}

function shade(act, max) {
  return act > 0 && max > 0 ? "a" + Math.max(1, Math.min(SHADES, Math.ceil((SHADES * act) / max))) : "";
}

function legend(max) {
  const steps = [];
  for (let i = 1; i <= SHADES; i++) steps.push(el("span", { className: "step a" + i, "aria-hidden": "true" }));
  return el("p", { className: "legend quiet" },
    "activation 0 ", el("span", { className: "scale" }, steps), " " + level(max, max),
    el("span", { className: "masked sample", textContent: "token" }), " masked",
    el("span", { className: "peak sample", textContent: "token" }), " middle of the window");
}

// A window of text; `[origin, row, position, tokens, places with their activation, masked places]`.
function windowLine(found, tokens, detail, before) {
  const [origin, row, position, ids, sparse, masked] = found;
  const acts = new Array(ids.length).fill(0);
  for (const [place, act] of sparse) acts[place] = act;
  const hidden = new Set(masked);
  const max = Math.max(...acts);
  const middle = (ids.length - 1) / 2;
  const readout = el("output", { className: "readout quiet" });
  const place = origin + " \u00b7 row " + row + ", position " + position;
  readout.textContent = place;
  const line = el("p", { className: "context", tabIndex: 0, role: "group", dir: "auto", "aria-label": place });
  ids.forEach((id, i) => {
    const text = visible(tokens[id]);
    const name = "\u201c" + text + "\u201d " + level(acts[i], detail.max_act) + (hidden.has(i) ? ", masked" : "");
    const names = [shade(acts[i], detail.max_act), hidden.has(i) ? "masked" : "", i === middle ? "peak" : ""];
    // A space before a word stays outside its shade, which would otherwise hang from the end of a line.
    const space = text.length > text.trimStart().length && text.trim() ? text.slice(0, text.length - text.trimStart().length) : "";
    const token = el("bdi", { textContent: text.slice(space.length), className: names.filter(Boolean).join(" "), title: name, tabIndex: -1 });
    token.dataset.name = name;
    line.append(space, token);
  });
  const tell = (event) => {
    const token = event.target.closest("[data-name]");
    readout.textContent = token ? token.dataset.name : place;
  };
  line.addEventListener("mouseover", tell);
  line.addEventListener("focusin", tell);
  line.addEventListener("mouseleave", () => { readout.textContent = place; });
  line.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const list = [...line.children];
    const now = list.indexOf(document.activeElement);
    const next = now < 0 ? Math.max(0, acts.indexOf(max)) : Math.max(0, Math.min(list.length - 1, now + step));
    list[next].focus();
    event.preventDefault();
  });
  return el("li", { className: "window" }, before, el("span", { className: "act", textContent: level(max, detail.max_act) }),
    el("div", {}, line, readout));
}

function verdict(place, detail) {
  const active = detail.active.includes(place);
  const number = el("span", { className: "number quiet", textContent: String(place + 1) });
  if (detail.predicted === null) return [number, el("span", { className: "verdict quiet", textContent: active ? "active" : "not active" })];
  const predicted = detail.predicted.includes(place);
  const right = active === predicted;
  const text = (right ? "\u2713 " : "\u2717 ") + (active ? "active" : "not active") + (right ? "" : predicted ? ", said active" : ", said not");
  return [number, el("span", { className: "verdict " + (right ? "right" : "wrong"), textContent: text })];
}

// Predicted against actual, a column for each window.
function outcomes(detail) {
  const n = detail.scored.length;
  const places = [...Array(n).keys()];
  const line = (name, set) => el("tr", {}, el("th", { scope: "row", textContent: name }),
    places.map((i) => el("td", { className: set.includes(i) ? "yes" : "no", textContent: set.includes(i) ? "\u25cf" : "\u00b7",
      "aria-label": set.includes(i) ? "active" : "not active" })));
  const right = (i) => detail.active.includes(i) === detail.predicted.includes(i);
  return el("div", { className: "wide" }, el("table", { className: "outcomes" },
    el("thead", {}, el("tr", {}, el("th", { scope: "col", textContent: "Window" }),
      places.map((i) => el("th", { scope: "col", textContent: String(i + 1) })))),
    el("tbody", {}, line("Predicted active", detail.predicted), line("Active", detail.active),
      el("tr", {}, el("th", { scope: "row", textContent: "Right" }), places.map((i) =>
        el("td", { className: right(i) ? "right" : "wrong", textContent: right(i) ? "\u2713" : "\u2717", "aria-label": right(i) ? "right" : "wrong" }))))));
}

// Ticks between two powers of 2: edges of bins, as many as there is room for.
function ticks(low, high) {
  const octaves = high - low;
  const parts = octaves <= 1.5 ? [1, 1.25, 1.5, 1.75] : octaves <= 3 ? [1, 1.5] : [1];
  const step = Math.max(1, Math.ceil(octaves / 6));
  const values = [];
  for (let power = Math.floor(low); power <= high; power += step) values.push(...parts.map((part) => part * 2 ** power));
  return values.filter((value) => Math.log2(value) >= low - 1e-9 && Math.log2(value) <= high + 1e-9);
}

// Activations by size on a logarithmic axis; bins are quarters of octaves.
function histogram(bins, threshold) {
  if (bins.length === 0) return el("p", { className: "quiet", textContent: "It was never active." });
  const [width, height, left, right, top, bottom] = [340, 150, 46, 8, 10, 34];
  const end = (edge) => edge + 2 ** Math.floor(Math.log2(edge)) / 4;
  const low = Math.log2(bins[0][0]);
  const high = Math.log2(end(bins[bins.length - 1][0]));
  const most = Math.max(...bins.map((bin) => bin[1]));
  const x = (value) => left + ((Math.log2(value) - low) / (high - low)) * (width - left - right);
  const y = (count) => height - bottom - (count / most) * (height - top - bottom);
  const total = bins.reduce((sum, bin) => sum + bin[1], 0);
  const peak = bins.find((bin) => bin[1] === most);
  const said = "Histogram of " + plural(total, "activation", "activations") + " from " + short(bins[0][0]) + " to " +
    short(end(bins[bins.length - 1][0])) + " on a logarithmic axis; most, " + most.toLocaleString("en") + ", are between " +
    short(peak[0]) + " and " + short(end(peak[0])) + ".";
  const chart = svg("svg", { viewBox: "0 0 " + width + " " + height, role: "img", class: "histogram", "aria-label": said });
  const title = svg("title", {});
  title.textContent = said;
  chart.append(title);
  const text = (at, label, anchor, extra) => {
    const node = svg("text", { x: at[0], y: at[1], "text-anchor": anchor, ...extra });
    node.textContent = label;
    return node;
  };
  for (const [edge, count] of bins) {
    const [from, to] = [x(edge), x(end(edge))];
    chart.append(svg("rect", { x: from, y: y(count), width: Math.max(0.6, to - from - 0.6), height: height - bottom - y(count), class: "bin" }));
  }
  chart.append(svg("line", { x1: left, x2: width - right, y1: height - bottom, y2: height - bottom, class: "axis" }));
  for (const value of ticks(low, high)) {
    const at = x(value);
    chart.append(svg("line", { x1: at, x2: at, y1: height - bottom, y2: height - bottom + 4, class: "axis" }),
      text([at, height - bottom + 15], short(value), "middle"));
  }
  for (const count of [0, most]) chart.append(text([left - 6, y(count) + 4], count.toLocaleString("en"), "end"));
  if (threshold > 2 ** low && threshold < 2 ** high) {
    chart.append(svg("line", { x1: x(threshold), x2: x(threshold), y1: top, y2: height - bottom, class: "threshold" }));
  }
  chart.append(text([(left + width - right) / 2, height - 4], "activation, logarithmic", "middle", { class: "name" }),
    text([0, 0], "positions", "middle", { class: "name", transform: "translate(10 " + (height - bottom + top) / 2 + ") rotate(-90)" }));
  return chart;
}

function logits(title, pairs) {
  const most = Math.max(...pairs.map((pair) => Math.abs(pair[1])), 1e-9);
  return el("table", { className: "logits" }, el("caption", { textContent: title }),
    el("thead", { className: "hidden" }, el("tr", {}, el("th", { scope: "col", textContent: "token" }), el("th", { scope: "col", textContent: "logit" }))),
    el("tbody", {}, pairs.map(([token, logit]) => {
      const bar = svg("svg", { class: "bar", viewBox: "0 0 40 8", "aria-hidden": "true" },
        svg("rect", { width: (40 * Math.abs(logit)) / most, height: 8 }));
      return el("tr", {}, el("td", { className: "token" }, el("bdi", { textContent: named(token) })),
        el("td", {}, bar), el("td", { className: "n", textContent: (logit < 0 ? "\u2212" : "+") + Math.abs(logit).toFixed(2) }));
    })));
}

function steeringPart(all) {
  return all.map((one) => {
    const { amp_factor, token_scope, k_scope, dlm_steps, judge } = one.steered;
    const scope = token_scope + (k_scope === null ? "" : " " + k_scope);
    const settings = ["strength " + amp_factor, scope, dlm_steps === null ? null : dlm_steps + " steps", "judged by " + judge];
    return el("div", { className: "steered" },
      el("div", {}, facts([["C", fixed(one.concept_improvement, 3)], ["P", fixed(one.perplexity_reduction, 3)], ["S", fixed(one.steering_score, 3)]]),
        el("span", { className: "quiet", textContent: settings.filter(Boolean).join(" \u00b7 ") })),
      el("table", { className: "pairs" },
        el("thead", {}, el("tr", {}, ["Prefix", "Unsteered", "Steered"].map((name) => el("th", { scope: "col", textContent: name })))),
        el("tbody", {}, one.pairs.map((pair) => el("tr", {}, el("td", { textContent: visible(pair.prefix), dir: "auto" }),
          steeredText(pair.unsteered, pair.before), steeredText(pair.steered, pair.after))))));
  });
}

function steeredText(text, score) {
  return el("td", {}, el("span", { textContent: visible(text), dir: "auto" }),
    el("span", { className: "quiet n", textContent: " " + (score === null ? "not judged" : short(score)) }));
}

function chosenFact(detail) {
  const labels = detail.labels.map((l) => l.label + " (F1 " + l.f1.toFixed(2) + ", precision " + l.precision.toFixed(2) + ", recall " + l.recall.toFixed(2) + ")");
  const why = { sample: "drawn", list: "asked for", label: "for a label" }[detail.chosen] || detail.chosen;
  return ["Chosen", why, labels.length ? "best with " + labels.map(visible).join(", ") : ""];
}

// The pane of an opened latent.
function latentView(item, sae, link) {
  const { tokens, latents } = block(item.sae);
  const detail = latents[item.place];
  const n = detail.scored.length;
  const top = [...detail.shown];
  const explanation = item.explanation
    ? el("h2", { textContent: visible(item.explanation), dir: "auto" })
    : el("h2", { className: "note", textContent: item.note });
  const errors = [detail.error, detail.prediction_error].filter(Boolean);
  const scored = detail.n_right === null ? "" : detail.n_right + " of " + n;
  return [
    el("p", { className: "where" },
      el("button", { type: "button", className: "back", textContent: "\u2190 List" }),
      el("strong", { textContent: "Latent " + item.latent }), " layer " + item.layer + ", k " + budget(item.k) + twin(item) + " ",
      el("a", { href: link, textContent: "link", title: "Link to this latent" }),
      el("span", { className: "grow" }),
      el("button", { type: "button", className: "previous", textContent: "Previous", title: "Previous in the list (k)" }),
      el("button", { type: "button", className: "next", textContent: "Next", title: "Next in the list (j)" })),
    explanation,
    errors.map((error) => el("p", { className: "note", textContent: visible(error) })),
    facts([
      ["Score", fixed(item.score, 3), scored], ["Density", percent(item.density) + " %", detail.n_active.toLocaleString("en") + " positions"],
      ["Largest activation", level(detail.max_act, detail.max_act)], ["Active above", short(detail.threshold)], ["Judge", visible(sae.judge || "\u2013")],
      chosenFact(detail),
    ]),
    el("div", { className: "columns" },
      section("Activations", histogram(detail.histogram, detail.threshold)),
      section("Tokens of its direction", el("div", { className: "pair" }, logits("Promoted", detail.promoted), logits("Suppressed", detail.suppressed)))),
    top.length ? section("Strongest contexts", legend(detail.max_act),
      el("ol", { className: "windows" }, top.map((found) => windowLine(found, tokens, detail, null)))) : null,
    n && detail.predicted ? section("Predicted against actual", outcomes(detail)) : null,
    n ? section("Scored windows", el("ol", { className: "windows scored" },
      detail.scored.map((found, i) => windowLine(found, tokens, detail, verdict(i, detail))))) : null,
    detail.steering.length ? section("Steered texts", steeringPart(detail.steering)) : null,
  ].flat().filter(Boolean);
}

// What is shown before a latent is opened: the SAEs of the page.
function overview(data) {
  const names = ["Layer", "k", "Latents", "Scored", "Mean score", "Width", "Dead"];
  return [
    el("h2", { textContent: "SAEs of this page" }),
    el("div", { className: "wide" }, el("table", { className: "plain" },
      el("thead", {}, el("tr", {}, names.map((name) => el("th", { scope: "col", className: "n", textContent: name })))),
      el("tbody", {}, data.saes.map((sae, i) => el("tr", {},
        [sae.layer, budget(sae.k) + twin(sae), data.rows[i].length.toLocaleString("en"), sae.n_scored.toLocaleString("en"), fixed(sae.mean_score, 3),
          sae.d_sae.toLocaleString("en"), sae.n_dead.toLocaleString("en")].map((value) => el("td", { className: "n", textContent: String(value) }))))))),
    el("p", { className: "quiet" },
      "A score is the share of windows on which the judge, from the explanation alone, says rightly whether the latent is active. Density is the share of ",
      "positions on which it is active. Latents looked at for a label do not count for the mean."),
    el("p", { className: "quiet" }, "Choose a latent, or press ", el("kbd", { textContent: "?" }), " for the keys."),
  ];
}
