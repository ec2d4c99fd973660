// The list: which latents are in it, in which order, and the rows that can be seen.

const ROW = 46; // height of a row in CSS pixels, as in the style
const COLUMNS = [
  { key: "latent", name: "Latent", number: true },
  { key: "layer", name: "Layer", number: true },
  { key: "k", name: "k", number: true },
  { key: "explanation", name: "Explanation" },
  { key: "score", name: "Score", number: true, first: -1 },
  { key: "density", name: "Density %", number: true, first: -1 },
];

class List {
  constructor(data, onOpen) {
    this.onOpen = onOpen;
    this.all = [];
    data.rows.forEach((rows, sae) => {
      const { layer, k, twin } = data.saes[sae];
      rows.forEach(([latent, score, density, note, explanation, tokens, steered], place) => {
        this.all.push({ sae, place, layer, k, twin, latent, score, density, note, explanation, tokens, steered: Boolean(steered), text: null });
      });
    });
    this.shown = [];
    this.current = 0;
    this.opened = null;
    this.filter = { q: "", layer: "", k: "", state: "" };
    this.sort = { key: "score", direction: -1 };
    this.grid = byId("grid");
    this.scroller = byId("scroller");
    this.rows = byId("rows");
    this.grid.setAttribute("aria-colcount", COLUMNS.length);
    this.makeColumns();
    this.scroller.addEventListener("scroll", () => this.paint());
    new ResizeObserver(() => this.paint()).observe(this.scroller);
    this.rows.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.open(Number(row.dataset.at));
    });
  }

  makeColumns() {
    this.buttons = COLUMNS.map((column) => {
      const button = el("button", { type: "button", textContent: column.name, tabIndex: 0 });
      button.addEventListener("click", () => {
        const first = column.first || 1;
        const direction = this.sort.key === column.key ? -this.sort.direction : first;
        this.sort = { key: column.key, direction };
        this.update();
        this.onChange();
      });
      const head = el("div", { role: "columnheader", className: "cell " + column.key }, button);
      byId("columns").append(head);
      return head;
    });
  }

  // Every word of the search is in the explanation or the tokens, or is the latent's number.
  matches(item, words) {
    const { layer, k, state } = this.filter;
    if (layer !== "" && item.layer !== Number(layer)) return false;
    if (k !== "" && item.k !== Number(k)) return false;
    if (state === "scored" && item.score === null) return false;
    if (state === "unscored" && item.score !== null) return false;
    if (state === "steered" && !item.steered) return false;
    if (words.length === 0) return true;
    if (item.text === null) item.text = ((item.explanation || "") + "\n" + item.tokens.join("\n")).toLowerCase();
    return words.every((word) => item.text.includes(word) || String(item.latent) === word);
  }

  update() {
    const words = this.filter.q.toLowerCase().split(/\s+/).filter(Boolean);
    const kept = this.shown[this.current];
    this.shown = this.all.filter((item) => this.matches(item, words));
    this.order();
    this.current = Math.max(0, this.shown.indexOf(kept));
    this.buttons.forEach((head, i) => {
      const isSorted = COLUMNS[i].key === this.sort.key;
      head.setAttribute("aria-sort", !isSorted ? "none" : this.sort.direction > 0 ? "ascending" : "descending");
    });
    this.grid.setAttribute("aria-rowcount", this.shown.length + 1);
    this.rows.style.height = this.shown.length * ROW + "px";
    const total = plural(this.all.length, "latent", "latents");
    byId("count").textContent =
      this.shown.length === this.all.length ? total : this.shown.length.toLocaleString("en") + " of " + total;
    this.show(this.current);
  }

  // What has no value goes last in either direction; ties go by layer, k and latent.
  order() {
    const { key, direction } = this.sort;
    const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en") : a - b);
    this.shown.sort((a, b) => {
      const x = a[key];
      const y = b[key];
      if ((x === null) !== (y === null)) return x === null ? 1 : -1;
      const way = x === null ? 0 : direction * compare(x, y);
      return way || a.layer - b.layer || a.k - b.k || a.latent - b.latent;
    });
  }

  // Brings a row into view and makes it the current one.
  show(at) {
    this.current = Math.max(0, Math.min(at, this.shown.length - 1));
    const top = this.current * ROW;
    const height = this.scroller.clientHeight;
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    else if (top + ROW > this.scroller.scrollTop + height) this.scroller.scrollTop = top + ROW - height;
    this.paint();
  }

  page() {
    return Math.max(1, Math.floor(this.scroller.clientHeight / ROW) - 1);
  }

  open(at) {
    const item = this.shown[at];
    if (!item) return;
    this.show(at);
    this.onOpen(item);
  }

  // The rows that can be seen, and a few more.
  paint() {
    const from = Math.max(0, Math.floor(this.scroller.scrollTop / ROW) - 4);
    const to = Math.min(this.shown.length, Math.ceil((this.scroller.scrollTop + this.scroller.clientHeight) / ROW) + 4);
    const rows = [];
    for (let at = from; at < to; at++) rows.push(this.row(at));
    if (this.shown.length === 0) rows.push(el("p", { className: "none", textContent: "No latent matches." }));
    this.rows.replaceChildren(...rows);
    if (this.shown.length > 0) this.grid.setAttribute("aria-activedescendant", "row-" + this.current);
    else this.grid.removeAttribute("aria-activedescendant");
  }

  row(at) {
    const item = this.shown[at];
    const cell = (name, ...children) => el("div", { role: "gridcell", className: "cell " + name }, ...children);
    const first = item.explanation
      ? el("span", { className: "said", textContent: visible(item.explanation), dir: "auto" })
      : el("span", { className: "said note", textContent: item.note || "no explanation" });
    const tokens = el("span", { className: "tokens", textContent: item.tokens.map(visible).join("  "), dir: "auto" });
    const isOpen = item === this.opened;
    const row = el(
      "div",
      {
        className: "row" + (at === this.current ? " current" : "") + (isOpen ? " opened" : ""),
        role: "row", id: "row-" + at, "aria-rowindex": at + 2, "aria-selected": String(isOpen),
      },
      cell("latent", String(item.latent), el("span", { className: "at quiet", textContent: "L" + item.layer + " k" + budget(item.k) + twin(item), title: "layer " + item.layer + ", k " + budget(item.k) + twin(item) })),
      cell("layer", String(item.layer)),
      cell("k", budget(item.k) + twin(item)),
      cell("explanation", first, tokens),
      cell("score", fixed(item.score, 2)),
      cell("density", percent(item.density)),
    );
    row.dataset.at = at;
    row.style.top = at * ROW + "px";
    return row;
  }
}
