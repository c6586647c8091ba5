// Which queries the list shows, and in which order.
const CHANGES = {
  all: () => true,
  gained: (change) => change !== null && change > SAME,
  lost: (change) => change !== null && change < -SAME,
  same: (change) => change !== null && Math.abs(change) <= SAME,
};

function matching() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const intent = $("intent").value, changed = CHANGES[$("changed").value] || CHANGES.all;
  const group = state.group === null ? null : new Set(data.groups[state.group].queries);
  return data.queries.filter((query) =>
    words.every((word) => query.found.includes(word))
    && (intent === "" || query.intent === Number(intent))
    && (data.systems.length < 2 || changed(data.measures.length ? changeOf(query, state.measure, state.against) : null) || changed === CHANGES.all)
    && within(query.words, "words-from", "words-to")
    && within(query.relevant, "relevant-from", "relevant-to")
    && (group === null || group.has(query.place)));
}

function within(number, from, to) {
  return number >= ($(from).value === "" ? -Infinity : Number($(from).value))
    && number <= ($(to).value === "" ? Infinity : Number($(to).value));
}

// Queries without a change come last whichever end is asked for.
function ordered(queries) {
  const way = { gains: 1, losses: -1 }[$("order").value];
  if (!way || data.systems.length < 2 || !data.measures.length) return queries;
  const none = (query) => changeOf(query, state.measure, state.against) === null;
  const change = (query) => (none(query) ? 0 : changeOf(query, state.measure, state.against));
  return queries.sort((one, other) => none(one) - none(other) || way * (change(other) - change(one)) || one.place - other.place);
}

function refresh() {
  state.matches = ordered(matching());
  const all = state.matches.length === data.queries.length;
  $("count").textContent = (all ? "" : state.matches.length.toLocaleString("en") + " of ") + count(data.queries.length, "query", "queries");
  $("reset").disabled = all && state.group === null;
  document.querySelectorAll("#groups button").forEach((button, place) => button.setAttribute("aria-pressed", String(state.group === place)));
  fillList();
  if (data.systems.length > 1 && data.measures.length) showGains();
}

function clearFilters() {
  for (const id of ["search", "words-from", "words-to", "relevant-from", "relevant-to", "intent"]) $(id).value = "";
  $("changed").value = "all";
  state.group = null;
}

function groupButtons() {
  data.groups.forEach((group, place) => {
    const button = make("button", { type: "button", "aria-pressed": "false" },
      make("strong", {}, group.queries.length.toLocaleString("en")), " ", make("bdi", {}, group.title));
    button.disabled = !group.queries.length;
    button.addEventListener("click", () => {
      state.group = state.group === place ? null : place;
      refresh();
    });
    $("groups").append(button);
  });
}

function fillControls() {
  const options = (select, names, first = 0) => names.slice(first).forEach((name, i) => select.append(make("option", { value: i + first }, name)));
  options($("measure"), data.measures);
  options($("against"), data.systems, 1);
  options($("intent"), data.intents);
  if (data.systems.length > 1) $("against").value = String(state.against);
  $("first").textContent = data.systems[0];
  $("intent").parentElement.hidden = data.intents.length < 2;
  $("changed").parentElement.hidden = $("order").parentElement.hidden = data.systems.length < 2 || !data.measures.length;
  $("compared").hidden = data.systems.length < 2;
  $("measured").hidden = !data.measures.length;
  $("balances").hidden = data.systems.length < 2 || !data.measures.length;
  groupButtons();
}

function listenToControls() {
  for (const id of ["search", "words-from", "words-to", "relevant-from", "relevant-to"]) $(id).addEventListener("input", refresh);
  for (const id of ["changed", "intent", "order"]) $(id).addEventListener("change", refresh);
  for (const id of ["measure", "against"]) $(id).addEventListener("change", () => {
    state[id] = Number($(id).value);
    refresh();
  });
  $("reset").addEventListener("click", () => { clearFilters(); refresh(); });
}
