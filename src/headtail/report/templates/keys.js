function step(by) {
  const here = document.activeElement ? document.activeElement.closest("details.query") : null;
  const current = here ? here.query : state.current;
  const place = state.matches.indexOf(current);
  const next = state.matches[place < 0 ? 0 : place + by];
  if (!next) return;
  const left = place < 0 ? null : $("list").children[place];
  const reading = Boolean(left && left.open);
  if (reading) left.open = false;    // the next one opens in its place
  goTo(next, reading);
}

function toggleCurrent() {
  const place = state.matches.indexOf(state.current);
  const row = place < 0 ? null : $("list").children[place];
  if (row) row.open = !row.open;
}

const KEYS = {
  j: () => step(1),
  k: () => step(-1),
  o: toggleCurrent,
  "/": () => { $("search").focus(); $("search").select(); },
  "?": () => { if ($("keys").open) $("keys").close(); else $("keys").showModal(); },
};

function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && event.target === $("search")) { $("search").blur(); return; }
    if (event.target.matches("input, textarea, select") || !Object.hasOwn(KEYS, event.key)) return;
    if ($("keys").open && event.key !== "?") return;
    event.preventDefault();
    KEYS[event.key]();
  });
  $("list").addEventListener("focusin", (event) => {
    const row = event.target.closest("details.query");
    if (row) state.current = row.query;
  });
  $("show-keys").addEventListener("click", KEYS["?"]);
  $("close-keys").addEventListener("click", () => $("keys").close());
}
