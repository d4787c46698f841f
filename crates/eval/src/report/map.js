// Zoom, pan and highlighting for the map. Without this script the map is a still picture.
(() => {
  const map = document.querySelector(".map"), plane = map.querySelector(".plane");
  const note = document.getElementById("map-note"), still = note.textContent.trim();
  const classes = new Map();
  for (const picture of plane.children) {
    if (!classes.has(picture.dataset.c)) classes.set(picture.dataset.c, []);
    classes.get(picture.dataset.c).push(picture);
  }
  const resting = still + " Point at a picture to see its class, drag to move, use the buttons or click and scroll to zoom.";
  note.textContent = resting;
  let zoom = 1, x = 0, y = 0, lit = null, kept = false;
  const draw = () => {
    const { clientWidth: width, clientHeight: height } = map;
    x = Math.min(0, Math.max(width * (1 - zoom), x));
    y = Math.min(0, Math.max(height * (1 - zoom), y));
    plane.style.width = plane.style.height = zoom * 100 + "%";
    plane.style.transform = `translate(${x}px,${y}px)`;
    // Places spread faster than pictures grow, so that pictures come apart.
    map.style.setProperty("--grow", Math.sqrt(zoom));
  };
  const scale = (factor, cx, cy) => {
    const next = Math.min(24, Math.max(1, zoom * factor)), ratio = next / zoom;
    x = cx - (cx - x) * ratio;
    y = cy - (cy - y) * ratio;
    zoom = next;
    draw();
  };
  const light = (picture) => {
    const name = picture ? picture.dataset.c : null;
    if (name === lit) return;
    if (lit !== null) classes.get(lit).forEach((other) => other.classList.remove("on"));
    plane.classList.toggle("dim", name !== null);
    lit = name;
    note.textContent = name === null ? resting : `${picture.title}: ${classes.get(name).length} pictures.`;
    if (name !== null) classes.get(name).forEach((other) => other.classList.add("on"));
  };

  const fingers = new Map();
  let moved = 0;
  const at = (event) => {
    const box = map.getBoundingClientRect();
    return [event.clientX - box.left - map.clientLeft, event.clientY - box.top - map.clientTop];
  };
  map.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button")) return;
    fingers.set(event.pointerId, at(event));
    moved = 0;
  });
  map.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) {
      if (!kept && event.pointerType === "mouse") light(event.target.closest("i"));
      return;
    }
    const now = at(event);
    const other = [...fingers].find(([id]) => id !== event.pointerId);
    if (other) {
      const [ox, oy] = other[1];
      const was = Math.hypot(before[0] - ox, before[1] - oy), is = Math.hypot(now[0] - ox, now[1] - oy);
      if (was > 0) scale(is / was, (now[0] + ox) / 2, (now[1] + oy) / 2);
      moved = 99;
    } else {
      moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
      if (moved > 4 && zoom > 1) {
        if (!map.hasPointerCapture(event.pointerId)) map.setPointerCapture(event.pointerId);
        map.classList.add("drag");
        x += now[0] - before[0];
        y += now[1] - before[1];
        draw();
      }
    }
    fingers.set(event.pointerId, now);
  });
  const lift = (event) => {
    fingers.delete(event.pointerId);
    map.classList.remove("drag");
  };
  map.addEventListener("pointerup", (event) => {
    if (fingers.has(event.pointerId) && moved <= 4) {
      const picture = event.target.closest("i");
      kept = picture !== null;
      light(picture);
    }
    lift(event);
  });
  map.addEventListener("pointercancel", lift);
  map.addEventListener("pointerleave", () => { if (!kept) light(null); });
  map.addEventListener("wheel", (event) => {
    if (document.activeElement !== map && !event.ctrlKey) return;
    event.preventDefault();
    scale(Math.exp(-event.deltaY * (event.deltaMode ? 0.06 : 0.002)), ...at(event));
  }, { passive: false });
  map.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
    const middle = [map.clientWidth / 2, map.clientHeight / 2];
    if (step && zoom > 1) { x += step[0]; y += step[1]; draw(); }
    else if (event.key === "+" || event.key === "=") scale(1.5, ...middle);
    else if (event.key === "-") scale(1 / 1.5, ...middle);
    else if (event.key === "0") scale(1 / zoom, ...middle);
    else if (event.key === "Escape") { kept = false; light(null); map.blur(); }
    else return;
    event.preventDefault();
  });

  const tools = document.createElement("div");
  tools.className = "tools";
  for (const [sign, words, factor] of [["\u2212", "Zoom out", 1 / 1.6], ["+", "Zoom in", 1.6], ["\u2922", "Show all", 0]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = sign;
    button.title = words;
    button.setAttribute("aria-label", words);
    button.onclick = () => scale(factor || 1 / zoom, map.clientWidth / 2, map.clientHeight / 2);
    tools.append(button);
  }
  map.append(tools);
  map.setAttribute("role", "group");
  map.classList.add("live");
  addEventListener("resize", draw);
})();
