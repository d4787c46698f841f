// Light or dark: the system's choice until the reader makes one, which is remembered. Loaded before the
// page is drawn, so that it never flashes.
"use strict";
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => {
    try { return localStorage.getItem("theme"); } catch { return null; } // storage may be forbidden
  };
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const show = () => {
    document.getElementById("theme")?.setAttribute("aria-pressed", String(isDark()));
    dispatchEvent(new Event("themechange"));
  };
  const choice = stored();
  if (choice === "light" || choice === "dark") root.dataset.theme = choice;
  system.addEventListener("change", show);
  addEventListener("DOMContentLoaded", () => {
    show();
    document.getElementById("theme").addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      try { localStorage.setItem("theme", root.dataset.theme); } catch { /* not remembered, still shown */ }
      show();
    });
  });
})();
