// Result cards and the small tools to make elements. All text goes in as text, never as HTML.

export const $ = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** "grinning_face" and "grinning-face" read better with spaces. */
export const spaced = (name) => name.replaceAll("_", " ").replace(/(?<=\p{L})-(?=\p{L})/gu, " ");

export const number = (value) => value.toLocaleString("en");

/** Small pictures stand on the tile with room around them; photographs fill it. */
export function fit(img) {
  const icon = img.naturalWidth <= 160 && img.naturalHeight <= 160;
  img.parentElement.classList.toggle("photo", !icon);
}

function scoreLine(score, name) {
  const line = make("span", { class: "score" });
  const text = Number.isFinite(score) ? score.toFixed(3) : "–";
  const bar = make("i", { "aria-hidden": "true" });
  bar.style.setProperty("--part", Number.isFinite(score) ? Math.min(1, Math.max(0, score)) : 0);
  line.append(make("span", { title: name }, text), bar);
  return line;
}

/** One result: a link that searches by it. `href` and `thumb` are addresses. */
export function card(item, { href, thumb, scoreName, place }) {
  const name = spaced(item.class);
  const img = make("img", { alt: "", loading: "lazy", decoding: "async", src: thumb, draggable: "false" });
  img.addEventListener("load", () => fit(img));
  img.addEventListener("error", () => img.parentElement.classList.add("broken"));
  const by = [item.camera, item.category].filter(Boolean);
  const spoken = [name, by[0], item.score == null ? null : `${scoreName} ${item.score.toFixed(3)}`];
  const link = make("a", {
    class: "card",
    href,
    title: item.text ? `${item.text}\n${item.path}` : item.path,
    "aria-label": spoken.filter(Boolean).join(", "),
  });
  link.append(make("span", { class: "tile" }, img), make("span", { class: "class" }, name));
  if (by.length) link.append(make("span", { class: "by" }, by[0]));
  if (item.score !== undefined) link.append(scoreLine(item.score, scoreName));
  const entry = make("li", {}, link);
  entry.style.setProperty("--place", Math.min(place, 24));
  return entry;
}

/** Moves the focus by an arrow key among cards, by where they stand on the screen. */
export function moveFocus(grid, key) {
  const cards = [...grid.querySelectorAll(".card")];
  const at = cards.indexOf(document.activeElement);
  if (at < 0) return false;
  const columns = Math.max(1, cards.findIndex((other) => other.offsetTop > cards[0].offsetTop));
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key];
  const next = { Home: 0, End: cards.length - 1 }[key] ?? at + step;
  cards[next]?.focus();
  return true;
}
