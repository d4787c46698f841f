// The search page. The address after # says what is shown, so that Back, Forward and bookmarks work:
//   #/shuffle/SEED  #/words/WORDS  #/similar/ID  #/picture/N (a picture given in this visit)  #/draw  #/map
// each with ?camera=..&category=.. for what is shown of it.

import { $, card, fit, make, moveFocus, number, spaced } from "./cards.js";
import { Atlas } from "./map.js";
import { Pad } from "./draw.js";

const COUNTS = [30, 60, 120, 200];
const HINT = "Click one to see what looks like it. Or drop a picture here, paste one, or draw.";
const pictures = []; // given in this visit: { file, url }
let info = null;
let route = null;
let count = COUNTS[0];
let running = null; // the AbortController of the question being asked
let pad = null;
let atlas = null;

// ---- addresses ----

function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const slash = path.indexOf("/");
  const [view, rest] = slash < 0 ? [path, ""] : [path.slice(0, slash), path.slice(slash + 1)];
  const asked = new URLSearchParams(query);
  let value = rest;
  try { value = decodeURIComponent(rest); } catch { /* taken as it stands */ }
  return { view: view || "shuffle", value, cameras: asked.getAll("camera"), category: asked.get("category") ?? "" };
}

function address({ view, value, cameras, category }) {
  const asked = filters({ cameras, category }).toString();
  return `#/${view}${value === "" ? "" : `/${encodeURIComponent(value)}`}${asked ? `?${asked}` : ""}`;
}

function filters({ cameras, category }) {
  const asked = new URLSearchParams();
  cameras.forEach((name) => asked.append("camera", name));
  if (category) asked.append("category", category);
  return asked;
}

/** Goes to another view; the filters stay. */
function go(view, value = "", { replace = false } = {}) {
  const next = address({ ...route, view, value: String(value) });
  if (!replace) { location.hash = next; return; }
  history.replaceState(null, "", next);
  follow();
}

const picture = (id, small) => `${small ? "thumb" : "picture"}/${id}?v=${info.version}`;
const seed = () => Math.floor(Math.random() * 2 ** 31);

// ---- asking the server ----

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. It may have been stopped.");
  }
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => null);
  throw new Error(problem?.detail ?? `The server answered ${response.status}.`);
}

/** What to ask for a route: the answer has `hits` or `items`. */
async function question(signal) {
  const asked = filters(route);
  if (route.view === "similar") {
    asked.set("k", count);
    return ask(`api/similar/${encodeURIComponent(route.value)}?${asked}`, { signal });
  }
  if (route.view === "picture" || route.view === "draw") {
    asked.set("k", count);
    const body = route.view === "draw" ? await pad.file() : pictures[route.value].file;
    if (body.size > info.bounds.body) {
      throw new Error(`This picture has ${megabytes(body.size)}; at most ${megabytes(info.bounds.body)} are taken.`);
    }
    return ask(`api/search?${asked}`, { method: "POST", body, signal });
  }
  asked.set("count", count);
  if (route.view === "words") asked.set("q", route.value);
  else asked.set("seed", route.value || 0);
  return ask(`api/browse?${asked}`, { signal });
}

const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MB`;

/** Asks what the route says and shows the answer, or why there is none. */
async function run() {
  running?.abort();
  const { signal } = (running = new AbortController());
  const slow = setTimeout(() => { $("timing").textContent = "Searching…"; $("grid").classList.add("stale"); }, 150);
  $("grid").setAttribute("aria-busy", "true");
  try {
    const answer = await question(signal);
    if (signal.aborted) return;
    show(answer);
  } catch (error) {
    if (signal.aborted || error.name === "AbortError") return;
    fail(error.message);
  } finally {
    clearTimeout(slow);
    if (!signal.aborted) {
      $("grid").classList.remove("stale");
      $("grid").setAttribute("aria-busy", "false");
    }
  }
}

// ---- showing ----

function show(answer) {
  const items = answer.hits ?? answer.items;
  const total = answer.total ?? items.length;
  const scoreName = answer.score;
  if (answer.query) showAsked(answer.query);
  const kept = document.activeElement?.closest(".card")?.getAttribute("href");
  const cards = items.map((item, place) =>
    card(item, { href: address({ ...route, view: "similar", value: String(item.id) }), thumb: picture(item.id, true), scoreName, place }));
  $("grid").replaceChildren(...cards);
  if (kept) $("grid").querySelector(`a[href="${CSS.escape(kept)}"]`)?.focus();
  $("status").textContent = heading(items, total, answer.query);
  $("timing").textContent = answer.milliseconds ? timing(answer.milliseconds, scoreName) : route.view === "shuffle" ? HINT : "";
  const next = COUNTS.find((size) => size > count && size <= info.bounds.hits);
  const whole = answer.hits ? items.length < count : total <= items.length;
  $("more").hidden = whole || next === undefined;
  $("shuffle").hidden = route.view !== "shuffle";
  if (items.length) say(null);
  else if (route.view === "words") say("Nothing by that name", "Try fewer or shorter words, or draw what you mean.");
  else say("Nothing here", "No picture passes these filters.");
}

function heading(items, total, query) {
  switch (route.view) {
    case "words": return total === 0 ? `Looked for “${route.value}”` : `${number(total)} ${total === 1 ? "picture" : "pictures"} named “${route.value}”`;
    case "similar": return `Most like “${spaced(query.class)}”`;
    case "picture": return "Most like your picture";
    case "draw": return "Most like your drawing";
    default: return "A few at random";
  }
}

function timing({ decode, embed, search }, scoreName) {
  const time = (value) => (value < 10 ? value.toFixed(1) : Math.round(value));
  return `by ${scoreName} · seen in ${time(decode + embed)} ms, found in ${time(search)} ms`;
}

/** A title (which may be empty) and a sentence in place of results; nothing when the title is null. */
function say(title, text = "") {
  $("message").hidden = title === null;
  if (title !== null) $("message").replaceChildren(...(title ? [make("h3", {}, title)] : []), make("p", {}, text));
}

function fail(reason) {
  $("grid").replaceChildren();
  $("more").hidden = $("shuffle").hidden = true;
  $("timing").textContent = "";
  $("status").textContent = "That did not work";
  say("No results", reason.charAt(0).toUpperCase() + reason.slice(1));
}

/** The panel beside the results: the picture that was asked about, or the drawing pad. */
function showPanel() {
  const { view } = route;
  const given = view === "picture" ? pictures[route.value] : null;
  $("query").hidden = !(view === "similar" || view === "draw" || given);
  $("asked").hidden = view === "draw";
  $("pad").hidden = view !== "draw";
  $("draw").setAttribute("aria-pressed", String(view === "draw"));
  if (view === "similar") setPicture(picture(route.value, false));
  if (given) {
    setPicture(given.url);
    $("asked-kind").textContent = "Your picture";
    $("asked-name").textContent = given.file.name ?? "From the clipboard";
    facts([["Size", megabytes(given.file.size).replace(/^0\.0 MB$/, `${number(given.file.size)} bytes`)]]);
  }
}

function setPicture(url) {
  if ($("asked-picture").getAttribute("src") === url) return;
  $("asked-picture").setAttribute("src", url);
  $("asked-name").textContent = $("asked-kind").textContent = "";
  facts([]);
}

function showAsked(item) {
  $("asked-kind").textContent = item.camera ?? "Picture";
  $("asked-name").textContent = spaced(item.class);
  facts([["Group", item.category], ["Words", item.text], ["File", item.path]]);
  document.title = `${spaced(item.class)} – ${info.title}`;
}

function facts(pairs) {
  const known = pairs.filter(([, value]) => value);
  $("asked-facts").replaceChildren(...known.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

// ---- filters ----

function showFilters() {
  const chips = [];
  if (info.cameras.length > 1 && info.cameras.length <= 12) {
    const all = chip("All", info.pictures, route.cameras.length === 0, () => refilter({ cameras: [] }));
    chips.push(all, ...info.cameras.map(({ name, count: size }) => {
      const on = route.cameras.includes(name);
      const cameras = on ? route.cameras.filter((other) => other !== name) : [...route.cameras, name];
      return chip(name, size, on, () => refilter({ cameras: cameras.length === info.cameras.length ? [] : cameras }));
    }));
  } else if (info.cameras.length > 12) {
    chips.push(menu("Every source", info.cameras, route.cameras[0] ?? "", (name) => refilter({ cameras: name ? [name] : [] })));
  }
  if (info.categories.length > 1) {
    chips.push(menu("Every group", info.categories, route.category, (category) => refilter({ category })));
  }
  const at = [...$("filters").children].indexOf(document.activeElement);
  $("filters").replaceChildren(...chips);
  if (at >= 0) chips[at]?.focus();
}

function chip(name, size, on, click) {
  const button = make("button", { type: "button", class: "chip", "aria-pressed": String(on) }, name, make("small", {}, number(size)));
  button.addEventListener("click", click);
  return button;
}

function menu(all, groups, chosen, change) {
  const options = groups.map(({ name, count: size }) => make("option", { value: name }, `${spaced(name)} (${number(size)})`));
  const select = make("select", { class: "chip", "aria-label": all }, make("option", { value: "" }, all), ...options);
  select.value = chosen;
  select.addEventListener("change", () => change(select.value));
  return select;
}

function refilter(change) {
  location.hash = address({ ...route, ...change });
}

// ---- going places ----

/** Reads the address and shows what it says. */
function follow() {
  const next = parse(location.hash);
  const known = new Set(info.cameras.map(({ name }) => name));
  next.cameras = next.cameras.filter((name) => known.has(name));
  if (!info.categories.some(({ name }) => name === next.category)) next.category = "";
  if (next.view === "map" && info.map) { openMap(); if (route) return; next.view = "shuffle"; }
  else if ($("map").open) $("map").close();
  if (!["shuffle", "words", "similar", "picture", "draw"].includes(next.view)) next.view = "shuffle";
  const before = route;
  route = next;
  if (next.view === "shuffle" && next.value === "" && !location.hash.startsWith("#/map")) {
    route.value = String(before?.view === "shuffle" && before.value ? before.value : seed());
    history.replaceState(null, "", address(route));
  }
  if (!before || before.view !== next.view || before.value !== next.value) {
    count = COUNTS[0];
    if (before && next.view !== "words") scrollTo({ top: 0 });
  }
  document.title = info.title;
  if (document.activeElement !== $("words")) $("words").value = next.view === "words" ? next.value : "";
  showFilters();
  showPanel();
  if (next.view === "picture" && !pictures[next.value]) {
    return fail("This picture was given in an earlier visit and is not kept. Give it again.");
  }
  if (next.view === "draw" && before?.view !== "draw" && innerWidth < 740) $("pad").scrollIntoView();
  if (next.view === "draw" && pad.empty) return invite();
  run();
}

/** The drawing pad before the first stroke. */
function invite() {
  running?.abort();
  $("grid").replaceChildren();
  $("grid").classList.remove("stale");
  $("timing").textContent = "";
  $("more").hidden = $("shuffle").hidden = true;
  $("status").textContent = "Draw what you are looking for";
  say("", "The results follow your pen. Broad strokes and the right colours matter more than detail.");
}

function give(file) {
  if (!file) return;
  if (file.type && !file.type.startsWith("image/")) { fail(`“${file.name}” is not a picture.`); return; }
  pictures.push({ file, url: URL.createObjectURL(file) });
  go("picture", pictures.length - 1);
}

function openMap() {
  atlas ??= new Atlas({
    load: () => ask("api/map"),
    thumb: (id) => picture(id, true),
    sheet: (at) => `sheet/${at}?v=${info.version}`,
    open: (id) => go("similar", id),
    close: closeMap,
  });
  atlas.open();
}

/** Back to what lies under the map; its address takes the place of the map's, so that Back never leaves the page. */
function closeMap() {
  history.replaceState(null, "", address(route));
  follow();
}

const clear = () => go("shuffle", seed());

// ---- events ----

function later(milliseconds, act) {
  let timer = 0;
  return () => { clearTimeout(timer); timer = setTimeout(act, milliseconds); };
}

function listen() {
  addEventListener("hashchange", follow);
  const typed = later(200, () => {
    const words = $("words").value.trim();
    if (words) go("words", words, { replace: route.view === "words" });
    else if (route.view === "words") clear();
  });
  $("words").addEventListener("input", typed);
  $("words-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const words = $("words").value.trim();
    if (words && !(route.view === "words" && route.value === words)) go("words", words);
    else $("grid").querySelector(".card")?.focus();
  });
  $("title").addEventListener("click", (event) => { event.preventDefault(); clear(); });
  $("upload").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => { give($("file").files[0]); $("file").value = ""; });
  $("draw").addEventListener("click", () => (route.view === "draw" ? clear() : go("draw")));
  $("pad-close").addEventListener("click", clear);
  $("clear").addEventListener("click", clear);
  $("shuffle").addEventListener("click", () => go("shuffle", seed()));
  $("more").addEventListener("click", () => {
    count = COUNTS.find((size) => size > count) ?? count;
    run();
  });
  $("skip").addEventListener("click", () => ($("grid").querySelector(".card") ?? $("status")).focus());
  $("help-open").addEventListener("click", () => $("help").showModal());
  $("help").addEventListener("click", (event) => { if (event.target === $("help")) $("help").close(); });
  $("asked-picture").addEventListener("load", ({ target }) => { target.parentElement.classList.remove("broken"); fit(target); });
  $("asked-picture").addEventListener("error", ({ target }) => target.parentElement.classList.add("broken"));
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
    if (file) { event.preventDefault(); give(file); }
  });
  listenToDrops();
  addEventListener("keydown", press);
}

function listenToDrops() {
  const brings = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const cover = (on) => document.body.classList.toggle("dropping", on);
  let depth = 0; // enter and leave come once for each element under the pointer
  addEventListener("dragenter", (event) => { if (brings(event)) { depth += 1; cover(true); } });
  addEventListener("dragleave", (event) => { if (brings(event)) { depth = Math.max(0, depth - 1); cover(depth > 0); } });
  addEventListener("dragover", (event) => { if (brings(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    depth = 0;
    cover(false);
    if (!brings(event)) return;
    event.preventDefault();
    give(event.dataTransfer.files[0]);
  });
}

function press(event) {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && route.view === "draw" && !event.target.matches("input[type=search]")) {
    event.preventDefault();
    pad.undo();
  }
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") {
    if (event.target === $("words") && $("words").value) { $("words").value = ""; if (route.view === "words") clear(); }
    else if (event.target === $("words")) $("words").blur();
    else if (route.view !== "shuffle") clear();
    return;
  }
  if (event.target.matches("input, select, textarea")) return;
  if (/^(Arrow|Home$|End$)/.test(event.key)) {
    if (moveFocus($("grid"), event.key)) event.preventDefault();
    return;
  }
  const act = {
    "/": () => { $("words").focus(); $("words").select(); },
    u: () => $("upload").click(),
    d: () => $("draw").click(),
    m: () => info.map && go("map"),
    r: () => go("shuffle", seed()),
    t: () => $("theme").click(),
    "?": () => $("help-open").click(),
  }[event.key];
  if (act) { event.preventDefault(); act(); }
}

// ---- start ----

async function start() {
  try {
    info = await ask("api/info");
  } catch (error) {
    return fail(error.message);
  }
  $("title").textContent = info.title;
  $("counts").textContent = `${number(info.pictures)} pictures, ${number(info.classes)} names`;
  $("map-link").hidden = !info.map;
  $("report-link").hidden = !info.report;
  $("colophon").textContent = `Model ${info.model.architecture}, ${info.dim} values a picture, ${info.model.hash.slice(0, 12)} · index ${info.index}`;
  const redraw = later(120, () => { if (route.view === "draw") (pad.empty ? invite() : run()); });
  pad = new Pad(redraw);
  listen();
  follow();
}

start();
