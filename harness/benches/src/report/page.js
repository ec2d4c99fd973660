// The page: address, keys, theme.

const data = JSON.parse(byId("list").textContent);
const pane = byId("latent-pane");
const list = new List(data, (item) => open(item, true));
list.onChange = () => writeAddress(false);
const inputs = { q: byId("search"), layer: byId("layer"), k: byId("k"), state: byId("state") };

function linkOf(item) {
  return "#latent=" + item.layer + "." + (item.k || 0) + "." + item.latent + (item.twin ? "." + item.sae : "");
}

// The latent of a link: `layer.k.latent`, with the place of the SAE where several share layer and k; or a number that any SAE may have.
function itemOf(link) {
  const parts = link.split(".").map(Number);
  if (parts.length === 1) return list.all.find((item) => item.latent === parts[0]);
  return list.all.find((item) => item.layer === parts[0] && (item.k || 0) === parts[1] && item.latent === parts[2]
    && (parts.length < 4 || item.sae === parts[3]));
}

// The address says what is seen, so that it can be sent to someone.
function writeAddress(isStep) {
  const parts = [];
  if (list.opened) parts.push(linkOf(list.opened).slice(1));
  for (const [name, value] of Object.entries(list.filter)) if (value !== "") parts.push(name + "=" + encodeURIComponent(value));
  if (list.sort.key !== "score" || list.sort.direction !== -1) parts.push("sort=" + (list.sort.direction < 0 ? "-" : "") + list.sort.key);
  const address = "#" + parts.join("&");
  if (isStep) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
}

function readAddress() {
  const parts = new URLSearchParams(location.hash.slice(1));
  for (const name of Object.keys(list.filter)) {
    inputs[name].value = parts.get(name) || "";
    list.filter[name] = inputs[name].value;
  }
  const sort = parts.get("sort") || "-score";
  const key = sort.replace(/^-/, "");
  if (COLUMNS.some((column) => column.key === key)) list.sort = { key, direction: sort.startsWith("-") ? -1 : 1 };
  const wanted = parts.get("latent");
  const item = wanted ? itemOf(wanted) : null;
  list.update();
  if (item) {
    const at = list.shown.indexOf(item);
    if (at >= 0) list.show(at);
    open(item, false);
  } else {
    close(false);
    if (wanted) pane.prepend(el("p", { className: "note", role: "alert", textContent: "No latent " + wanted + " on this page." }));
  }
}

function open(item, isStep) {
  list.opened = item;
  document.body.classList.add("opened");
  document.title = "Latent " + item.latent + ", layer " + item.layer + ", k " + budget(item.k) + twin(item) + " \u00b7 " + data.set + " on " + data.model;
  pane.replaceChildren(...latentView(item, data.saes[item.sae], linkOf(item)));
  pane.scrollTop = 0;
  pane.querySelector(".back").addEventListener("click", () => back());
  pane.querySelector(".previous").addEventListener("click", () => move(-1));
  pane.querySelector(".next").addEventListener("click", () => move(1));
  list.paint();
  if (isStep) {
    writeAddress(true);
    pane.focus();
  }
}

function close(isStep) {
  list.opened = null;
  document.body.classList.remove("opened");
  document.title = data.set + " on " + data.model;
  pane.replaceChildren(...overview(data).flat());
  list.paint();
  if (isStep) writeAddress(true);
}

function back() {
  if (list.opened) close(true);
  list.show(list.current);
  list.grid.focus();
}

// On through the list; an open latent gives way to the next one.
function move(step) {
  list.show(list.current + step);
  if (list.opened) list.open(list.current);
}

const KEYS = {
  ArrowDown: () => move(1),
  ArrowUp: () => move(-1),
  j: () => move(1),
  k: () => move(-1),
  PageDown: () => list.show(list.current + list.page()),
  PageUp: () => list.show(list.current - list.page()),
  Home: () => list.show(0),
  End: () => list.show(list.shown.length - 1),
  Enter: () => list.open(list.current),
  Escape: () => back(),
  "/": () => inputs.q.focus(),
  "?": () => byId("help").showModal(),
};
// Keys that do elsewhere what they always do: they scroll, press and follow.
const LIST_ONLY = ["ArrowDown", "ArrowUp", "PageDown", "PageUp", "Home", "End", "Enter"];

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  const at = event.target;
  if (at.closest("input, select")) {
    const leaves = at === inputs.q && (event.key === "ArrowDown" || event.key === "Enter");
    if (event.key !== "Escape" && !leaves) return;
    list.grid.focus();
    event.preventDefault();
    return;
  }
  const isInList = at === list.grid || at === document.body;
  if (!KEYS[event.key] || (LIST_ONLY.includes(event.key) && !isInList)) return;
  KEYS[event.key]();
  event.preventDefault();
});

for (const [name, input] of Object.entries(inputs)) {
  input.addEventListener("input", () => {
    list.filter[name] = input.value;
    list.update();
    writeAddress(false);
  });
}
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("help-button").addEventListener("click", () => byId("help").showModal());
addEventListener("popstate", readAddress);

const THEMES = ["system", "light", "dark"];

// The choice is kept where the browser lets a page keep something; without it the page follows the system.
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = "Theme: " + theme;
  try {
    localStorage.setItem("harness-theme", theme);
  } catch {
    return;
  }
}

function keptTheme() {
  try {
    return localStorage.getItem("harness-theme");
  } catch {
    return null;
  }
}

byId("theme").addEventListener("click", () => {
  const now = THEMES.indexOf(document.documentElement.dataset.theme);
  setTheme(THEMES[(now + 1) % THEMES.length]);
});

function fillSelect(select, values, name) {
  for (const value of [...new Set(values)].sort((a, b) => a - b)) select.append(el("option", { value: String(value), textContent: name + " " + value }));
}

fillSelect(inputs.layer, data.saes.map((sae) => sae.layer), "Layer");
fillSelect(inputs.k, data.saes.map((sae) => sae.k).filter((k) => k !== null), "k");
if (!list.all.some((item) => item.steered)) inputs.state.querySelector("[value=steered]").remove();
byId("about").textContent = plural(data.saes.length, "SAE", "SAEs") + ", " + plural(list.all.length, "latent", "latents");
setTheme(THEMES.includes(keptTheme()) ? keptTheme() : "system");
readAddress();
