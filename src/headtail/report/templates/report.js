"use strict";
// Comfort only: the page says everything without it.
const queries = Array.from(document.querySelectorAll("details.query"));
const tools = document.querySelector(".tools");
if (tools) {
  tools.hidden = false;
  const box = document.getElementById("filter");
  const count = document.getElementById("count");
  const unfold = document.getElementById("unfold");
  const visible = () => queries.filter((query) => !query.hidden);

  box.addEventListener("input", () => {
    const wanted = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const query of queries) {
      const words = query.querySelector(".asked").textContent.toLowerCase();
      query.hidden = !wanted.every((word) => words.includes(word));
    }
    count.textContent = wanted.length ? visible().length + " of " + queries.length + " queries" : "";
  });

  unfold.addEventListener("click", () => {
    const open = visible().some((query) => !query.open);
    for (const query of visible()) query.open = open;
    unfold.textContent = open ? "Close all" : "Open all";
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea")) return;
    const step = { j: 1, k: -1 }[event.key];
    if (!step) return;
    const shown = visible();
    const here = shown.indexOf(document.activeElement.closest("details.query"));
    const next = shown[here < 0 ? 0 : here + step];
    if (!next) return;
    next.open = true;
    next.querySelector("summary").focus({ preventScroll: true });
    next.scrollIntoView({ block: "start" });
  });
}
// On paper nothing can be unfolded, so what is folded is printed open, but not the long texts.
let folded = [];
window.addEventListener("beforeprint", () => {
  folded = queries.filter((query) => !query.open);
  for (const query of folded) query.open = true;
});
window.addEventListener("afterprint", () => {
  for (const query of folded) query.open = false;
});
