// The map: every picture at its place, drawn with the pictures themselves as far as they are loaded.
// World coordinates are the server's; `zoom` 1 shows all of them.

import { $, spaced, number } from "./cards.js";

const CELL = 48; // side of a thumbnail, pixels
const CELLS = 16; // thumbnails a row and rows of a sheet, as the server draws them
const SHEETS = 64; // sheets kept, 2.4 MB each
const LOADS = 4; // files fetched at a time
const SHARP = 56; // from this many pixels on the screen, the picture itself is drawn
const SHARP_KEPT = 240;
const FURTHEST = 60;

export class Atlas {
  constructor({ load, thumb, sheet, open, close }) {
    Object.assign(this, { load, thumb, sheet, pick: open, leave: close });
    this.dialog = $("map");
    this.canvas = $("map-canvas");
    this.context = this.canvas.getContext("2d");
    this.points = null;
    this.view = { zoom: 1, x: 0, y: 0 }; // x, y: world point in the middle
    this.lit = null; // the point under the pointer, or in the middle when keys are used
    this.words = "";
    this.sheets = new Map(); // sheet number -> Image, the longest unused first
    this.loading = 0;
    this.sharp = new Map(); // point index -> Image, oldest first
    this.pointers = new Map();
    this.listen();
  }

  async open() {
    if (!this.dialog.open) this.dialog.showModal();
    this.canvas.focus();
    this.resize();
    if (this.points) return;
    $("map-note").textContent = "Loading the map…";
    try {
      this.take(await this.load());
    } catch (error) {
      $("map-note").textContent = error.message;
    }
  }

  take({ classes, cameras, points }) {
    this.points = points.map(([id, x, y, name, camera], at) => ({
      id, x, y, name: spaced(classes[name]), low: spaced(classes[name]).toLowerCase(), class: name,
      camera: camera === null ? "" : cameras[camera], hue: (name * 137.508) % 360, at,
    }));
    const span = (values) => values.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [Infinity, -Infinity]);
    const [left, right] = span(this.points.map(({ x }) => x));
    const [top, bottom] = span(this.points.map(({ y }) => y));
    this.world = { x: (left + right) / 2, y: (top + bottom) / 2, width: Math.max(right - left, 1e-6), height: Math.max(bottom - top, 1e-6) };
    this.all();
  }

  // ---- geometry ----

  /** Screen pixels a world unit. */
  get scale() {
    return this.fit * this.view.zoom;
  }

  /** Screen pixels a world unit when all is shown. */
  get fit() {
    const { width, height } = this.size;
    return Math.min((width - 60) / this.world.width, (height - 60) / this.world.height);
  }

  /** Side of a picture on the screen, pixels: as much as there is room for when all is shown. */
  get tile() {
    const { width, height } = this.world;
    const crowd = this.fit * Math.sqrt((width * height) / Math.max(1, this.points.length));
    // Places spread faster than pictures grow, so that pictures come apart.
    return Math.min(112, Math.max(7, Math.min(40, crowd * 0.95) * Math.pow(this.view.zoom, 0.62)));
  }

  project({ x, y }) {
    const { scale } = this;
    return [(x - this.view.x) * scale + this.size.width / 2, (y - this.view.y) * scale + this.size.height / 2];
  }

  all() {
    Object.assign(this.view, { zoom: 1, x: this.world.x, y: this.world.y });
    this.note();
    this.redraw();
  }

  zoomBy(factor, at = [this.size.width / 2, this.size.height / 2]) {
    if (!this.points) return;
    const dx = at[0] - this.size.width / 2, dy = at[1] - this.size.height / 2;
    const before = this.scale;
    this.view.zoom = Math.min(FURTHEST, Math.max(0.8, this.view.zoom * factor));
    const after = this.scale;
    this.panBy(dx / before - dx / after, dy / before - dy / after);
  }

  /** Moves by world units; the middle stays inside the map. */
  panBy(dx, dy) {
    if (!this.points) return;
    const { world, view } = this;
    const within = (value, middle, span) => Math.min(middle + span / 2, Math.max(middle - span / 2, value));
    view.x = within(view.x + dx, world.x, world.width);
    view.y = within(view.y + dy, world.y, world.height);
    this.redraw();
  }

  resize() {
    const box = this.canvas.getBoundingClientRect();
    this.size = { width: box.width, height: box.height, ratio: Math.min(2, devicePixelRatio || 1) };
    this.canvas.width = Math.round(box.width * this.size.ratio);
    this.canvas.height = Math.round(box.height * this.size.ratio);
    this.redraw();
  }

  /** The point drawn on top at a place on the screen. */
  at([px, py]) {
    if (!this.points) return null;
    const half = Math.max(this.tile / 2, 6);
    for (let i = this.points.length - 1; i >= 0; i -= 1) {
      const [x, y] = this.project(this.points[i]);
      if (Math.abs(x - px) <= half && Math.abs(y - py) <= half) return this.points[i];
    }
    return null;
  }

  nearestToMiddle() {
    const far = ({ x, y }) => (x - this.view.x) ** 2 + (y - this.view.y) ** 2;
    return this.points?.reduce((best, point) => (far(point) < far(best) ? point : best), this.points[0]) ?? null;
  }

  // ---- drawing ----

  redraw() {
    if (this.frame || !this.dialog.open) return;
    this.frame = requestAnimationFrame(() => { this.frame = 0; this.draw(); });
  }

  draw() {
    const { context, size } = this;
    context.setTransform(size.ratio, 0, 0, size.ratio, 0, 0);
    context.clearRect(0, 0, size.width, size.height);
    if (!this.points) return;
    const tile = this.tile, half = tile / 2;
    const seen = [];
    for (const point of this.points) {
      const [x, y] = this.project(point);
      if (x > -half && y > -half && x < size.width + half && y < size.height + half) seen.push([point, x, y]);
    }
    context.imageSmoothingQuality = "high";
    // What is pointed out lies on top of all others.
    const meant = ([point]) => !this.words || point.low.includes(this.words);
    context.globalAlpha = 0.1;
    if (this.words) seen.filter((one) => !meant(one)).forEach((one) => this.drawPoint(...one, tile));
    context.globalAlpha = 1;
    seen.filter(meant).forEach((one) => this.drawPoint(...one, tile));
    this.drawRings(seen, tile);
    this.fetchSeen(seen, tile);
  }

  drawPoint(point, x, y, tile) {
    const { context } = this;
    const half = tile / 2;
    const inner = tile >= 18 ? tile * 0.88 : tile;
    const picture = this.sharp.get(point);
    const sheet = this.sheets.get(Math.floor(point.at / (CELLS * CELLS)));
    if (tile >= SHARP && ready(picture)) {
      this.plate(x, y, tile);
      contain(context, picture, x - inner / 2, y - inner / 2, inner);
    } else if (ready(sheet)) {
      if (tile >= 18) this.plate(x, y, tile);
      const cell = point.at % (CELLS * CELLS);
      // Without the outermost pixels, so that a neighbour never shines through.
      context.drawImage(sheet, (cell % CELLS) * CELL + 0.5, Math.floor(cell / CELLS) * CELL + 0.5, CELL - 1, CELL - 1, x - inner / 2, y - inner / 2, inner, inner);
    } else {
      context.fillStyle = `hsl(${point.hue} 45% 60%)`;
      context.beginPath();
      context.arc(x, y, Math.min(4, half), 0, 7);
      context.fill();
    }
  }

  plate(x, y, tile) {
    const { context } = this;
    context.fillStyle = "#fff";
    context.beginPath();
    context.roundRect(x - tile / 2, y - tile / 2, tile, tile, tile * 0.16);
    context.fill();
    context.strokeStyle = "rgb(0 0 0 / 0.1)";
    context.lineWidth = 1;
    context.stroke();
  }

  /** Rings around the pictures that share the lit one's name, which is drawn once more on top. */
  drawRings(seen, tile) {
    if (!this.lit) return;
    const { context } = this;
    for (const [point, x, y] of seen) {
      if (point.class !== this.lit.class) continue;
      const side = point === this.lit ? Math.max(tile * 1.25, 22) : Math.max(tile, 10);
      if (point === this.lit || tile < SHARP) { this.plate(x, y, side); this.drawPoint(point, x, y, side); }
      context.strokeStyle = "#2f8fcc";
      context.lineWidth = point === this.lit ? 3 : 2;
      context.beginPath();
      context.roundRect(x - side / 2 - 1, y - side / 2 - 1, side + 2, side + 2, side * 0.18);
      context.stroke();
    }
  }

  // ---- thumbnails ----

  /** Fetches what is seen and missing: sheets that many points want first, then large pictures. */
  fetchSeen(seen, tile) {
    const wants = new Map();
    for (const [{ at }] of seen) {
      const sheet = Math.floor(at / (CELLS * CELLS));
      wants.set(sheet, (wants.get(sheet) ?? 0) + 1);
    }
    if (wants.size > SHEETS) return; // more than can be kept: the dots stay
    for (const [sheet] of [...wants].sort((a, b) => b[1] - a[1])) {
      this.fetch(this.sheets, sheet, () => this.sheet(sheet), SHEETS);
    }
    if (tile < SHARP || seen.length > SHARP_KEPT) return;
    for (const [point] of seen) this.fetch(this.sharp, point, () => this.thumb(point.id), SHARP_KEPT);
  }

  /** Makes sure that `kept` has a picture under `key`, and forgets the longest unused beyond `most`. */
  fetch(kept, key, address, most) {
    const known = kept.get(key);
    if (known) {
      kept.delete(key);
      kept.set(key, known); // used last
      return;
    }
    if (this.loading >= LOADS) return;
    const picture = new Image();
    kept.set(key, picture);
    if (kept.size > most) kept.delete(kept.keys().next().value);
    this.loading += 1;
    // A picture that fails stays known, so that it is not asked for again and again.
    picture.onload = picture.onerror = () => { this.loading -= 1; this.redraw(); };
    picture.src = address();
  }

  // ---- being used ----

  listen() {
    const { canvas, dialog } = this;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    new ResizeObserver(() => { if (dialog.open) this.resize(); }).observe(canvas);
    addEventListener("themechange", () => this.redraw());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 30 : 1;
      this.zoomBy(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0016)), place(event));
      this.light(this.at(place(event)));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, place(event));
      if (this.pointers.size === 1) this.moved = 0;
    });
    canvas.addEventListener("pointermove", (event) => this.drag(event, place(event)));
    canvas.addEventListener("pointerup", (event) => {
      const single = this.pointers.size === 1;
      this.pointers.delete(event.pointerId);
      const point = this.at(place(event));
      if (single && this.moved < 6 && point) this.pick(point.id);
    });
    canvas.addEventListener("pointercancel", (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener("pointerleave", () => this.light(null));
    canvas.addEventListener("keydown", (event) => this.press(event));
    $("map-in").addEventListener("click", () => this.zoomBy(1.6));
    $("map-out").addEventListener("click", () => this.zoomBy(1 / 1.6));
    $("map-all").addEventListener("click", () => this.points && this.all());
    $("map-close").addEventListener("click", () => this.leave());
    $("map-find").addEventListener("input", () => { this.words = $("map-find").value.trim().toLowerCase(); this.note(); this.redraw(); });
    dialog.addEventListener("cancel", (event) => { event.preventDefault(); this.leave(); });
  }

  drag(event, now) {
    const before = this.pointers.get(event.pointerId);
    if (!before) { this.light(this.at(now)); return; }
    const others = [...this.pointers.entries()].filter(([id]) => id !== event.pointerId);
    if (others.length && this.points) {
      const other = others[0][1];
      const apart = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]);
      const middle = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
      this.zoomBy(apart(now) / Math.max(1, apart(before)), middle);
      this.moved = Infinity;
    }
    if (this.points) {
      const share = others.length ? 2 : 1; // each finger moves the middle by half
      this.panBy((before[0] - now[0]) / this.scale / share, (before[1] - now[1]) / this.scale / share);
    }
    this.moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
    this.pointers.set(event.pointerId, now);
    if (this.moved > 6) this.light(null);
  }

  press(event) {
    if (!this.points || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = 80 / this.scale;
    const act = {
      ArrowLeft: () => this.panBy(-step, 0), ArrowRight: () => this.panBy(step, 0),
      ArrowUp: () => this.panBy(0, -step), ArrowDown: () => this.panBy(0, step),
      "+": () => this.zoomBy(1.4), "=": () => this.zoomBy(1.4), "-": () => this.zoomBy(1 / 1.4), 0: () => this.all(),
      "/": () => $("map-find").focus(),
      Enter: () => this.pick((this.lit ?? this.nearestToMiddle()).id),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
    if (event.key !== "Enter" && event.key !== "/") this.light(this.nearestToMiddle());
  }

  light(point) {
    if (point === this.lit) return;
    this.lit = point;
    this.canvas.classList.toggle("over", Boolean(point));
    $("map-card").hidden = !point;
    if (point) {
      $("map-picture").src = this.thumb(point.id);
      $("map-class").textContent = point.name;
      $("map-camera").textContent = point.camera;
    }
    this.redraw();
  }

  note() {
    const total = number(this.points?.length ?? 0);
    const found = this.words ? this.points.filter(({ low }) => low.includes(this.words)).length : 0;
    $("map-note").textContent = this.words ? `${number(found)} of ${total} pictures` : `${total} pictures; those that look alike to the model lie close together`;
  }
}

const ready = (picture) => picture?.complete && picture.naturalWidth > 0;

/** Draws a picture inside a square, as large as fits. */
function contain(context, picture, left, top, side) {
  const ratio = side / Math.max(picture.naturalWidth, picture.naturalHeight);
  const width = picture.naturalWidth * ratio, height = picture.naturalHeight * ratio;
  context.drawImage(picture, left + (side - width) / 2, top + (side - height) / 2, width, height);
}
