// The drawing pad: strokes are kept, so that undo is to draw all but the last again.

import { $, make } from "./cards.js";

const COLOURS = [
  ["Black", "#1c1e22"], ["Red", "#e0342b"], ["Orange", "#f58a1f"], ["Yellow", "#fcc934"], ["Green", "#3aa757"],
  ["Blue", "#2f7de1"], ["Purple", "#8e4ec6"], ["Brown", "#8a5a3b"], ["Grey", "#9aa0a6"], ["Eraser", "#ffffff"],
];
/** Widths in canvas pixels, of 512. */
const SIZES = [["Fine", 8], ["Medium", 22], ["Broad", 52], ["Huge", 120]];

export class Pad {
  /** `changed` is called after every stroke and while one is drawn. */
  constructor(changed) {
    this.canvas = $("sketch");
    this.context = this.canvas.getContext("2d");
    this.changed = changed;
    this.strokes = [];
    this.stroke = null;
    this.colour = COLOURS[0][1];
    this.size = SIZES[1][1];
    this.choices("colours", COLOURS, (value) => { this.colour = value; }, 0);
    this.choices("sizes", SIZES, (value) => { this.size = Number(value); }, 1);
    this.listen();
    this.paint();
  }

  get empty() { return this.strokes.length === 0; }

  choices(group, list, chosen, first) {
    list.forEach(([name, value], at) => {
      const input = make("input", { type: "radio", name: group, value, "aria-label": name });
      input.checked = at === first;
      input.addEventListener("change", () => chosen(value));
      const dot = make("i", { "aria-hidden": "true" });
      dot.style.setProperty("--value", group === "sizes" ? `${5 + at * 5.5}px` : value);
      const label = make("label", { title: name, class: name === "Eraser" ? "eraser" : null }, input, dot);
      $(group).append(label);
    });
  }

  listen() {
    const { canvas } = this;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || this.stroke) return;
      event.preventDefault();
      canvas.setPointerCapture(event.pointerId);
      this.stroke = { colour: this.colour, size: this.size, points: [place(event)], pointer: event.pointerId };
      this.strokes.push(this.stroke);
      this.paint();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (this.stroke?.pointer !== event.pointerId) return;
      const parts = event.getCoalescedEvents?.() ?? [];
      for (const part of parts.length ? parts : [event]) this.stroke.points.push(place(part));
      this.paint();
      this.changed();
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => {
        if (this.stroke?.pointer !== event.pointerId) return;
        this.stroke = null;
        this.changed();
      });
    }
    $("undo").addEventListener("click", () => this.undo());
    $("wipe").addEventListener("click", () => this.wipe());
  }

  undo() {
    this.strokes.pop();
    this.paint();
    this.changed();
  }

  wipe() {
    this.strokes = [];
    this.paint();
    this.changed();
  }

  paint() {
    const { context, canvas } = this;
    // White in every theme: this is the picture that is searched by.
    context.fillStyle = "#ffffff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.lineCap = context.lineJoin = "round";
    for (const { colour, size, points } of this.strokes) {
      context.strokeStyle = colour;
      context.lineWidth = size;
      context.beginPath();
      context.moveTo(...points[0]);
      // A line to itself is a dot.
      points.slice(points.length > 1 ? 1 : 0).forEach((point) => context.lineTo(...point));
      context.stroke();
    }
    $("undo").disabled = $("wipe").disabled = this.empty;
  }

  /** The drawing as a PNG file. */
  file() {
    return new Promise((done) => this.canvas.toBlob(done, "image/png"));
  }
}
