// One query: a line in the list, and below it, once it is opened, the rankings side by side.
function queryRow(query) {
  const row = make("details", { class: "query" }, summaryOf(query));
  row.query = query;
  row.addEventListener("toggle", () => {
    if (row.open) fillRow(row);
    state.open[row.open ? "add" : "delete"](query.place);
    if (row.open) remember(query);
  });
  if (state.open.has(query.place)) row.open = true;
  return row;
}

// The rankings of a query are built when it is first opened.
function fillRow(row) {
  if (row.childElementCount === 1) row.append(...bodyOf(row.query));
}

function summaryOf(query) {
  const about = make("span", { class: "about" },
    query.intent >= 0 ? make("span", { class: "intent" }, data.intents[query.intent]) : null,
    make("bdi", { class: "id" }, query.id),
    make("span", {}, count(query.words, "word")),
    make("span", {}, count(query.relevant, "relevant doc")));
  const asked = make("span", { class: "asked" }, make("span", { class: "text", dir: "auto" }, query.text || "(no text)"), about);
  if (data.systems.length > 1) {
    const line = why(query, state.against, data.measures.length ? [state.measure] : []);
    line.prepend(make("bdi", {}, data.systems[state.against]), ": ");
    asked.append(line);
  }
  return make("summary", {}, asked, stripsOf(query));
}

// A line for each system: the judgments of its first docs as letters, its value, and its change.
function stripsOf(query) {
  const strips = make("span", { class: "strips" });
  data.systems.forEach((system, place) => {
    const change = place && data.measures.length ? changeOf(query, state.measure, place) : null;
    strips.append(make("bdi", { class: "system" }, system), lettersOf(query, place));
    if (!data.measures.length) return;
    strips.append(
      make("span", { class: "value" }, figure(query.values[place][state.measure])),
      make("span", { class: "change " + (change > 0 ? "up" : change < 0 ? "down" : "") }, place && change !== null ? figure(change, true) : ""));
  });
  if (!data.measures.length) strips.classList.add("plain");
  return strips;
}

function lettersOf(query, place) {
  const ranking = query.rankings[place];
  if (!ranking) return make("span", { class: "letters none" }, "no ranking");
  const letters = ranking.docs.map((doc) => letterOf(query, doc)).join("");
  const ranks = Array.from(letters.matchAll(/R/g), (match) => match.index + 1);
  const said = (ranks.length ? "relevant at rank " + ranks.join(", ") : "no doc judged relevant") + " in the first " + letters.length;
  const box = make("span", { class: "letters", role: "img", "aria-label": said });
  for (const [same] of letters.matchAll(/R+|N+|U+/g)) box.append(make("span", { class: JUDGED[same[0]] }, same));
  return box;
}

function bodyOf(query) {
  const link = make("a", { href: "#q=" + encodeURIComponent(query.id) }, "link to this query");
  const columns = make("div", { class: "columns", tabindex: "0", role: "region", "aria-label": "Rankings of " + query.id });
  columns.style.setProperty("--columns", data.systems.length);
  const pattern = termPattern(query.terms);
  data.systems.forEach((system, place) => columns.append(columnOf(query, system, place, pattern)));
  linkSameDocs(columns);
  return [make("p", { class: "permalink" }, link), columns];
}

function columnOf(query, system, place, pattern) {
  const every = data.measures.map((_, measure) => measure);
  const column = make("section", {}, make("h3", {}, make("bdi", {}, system)), why(query, place, every));
  const ranking = query.rankings[place];
  if (!ranking) {
    column.append(make("p", { class: "none" }, "No ranking for this query."));
  } else if (!ranking.docs.length) {
    column.append(make("p", { class: "none" }, "Nothing retrieved."));
  } else {
    const list = make("ol", {});
    ranking.docs.forEach((_, rank) => list.append(shownDoc(query, ranking, rank, pattern)));
    column.append(list);
  }
  if (ranking && ranking.hidden) column.append(elsewhereOf(query, ranking));
  return column;
}

function shownDoc(query, ranking, at, pattern) {
  const doc = ranking.docs[at], letter = letterOf(query, doc);
  const line = make("p", { class: "line" },
    make("span", { class: "rank" }, String(at + 1)),
    gradeOf(query, doc),
    ranking.before ? moveOf(at + 1, ranking.before[at]) : null,
    make("bdi", { class: "id" }, data.docs[doc]),
    make("span", { class: "score" }, scoreText(ranking.scores[at])));
  const item = make("li", { class: "doc " + JUDGED[letter], "data-doc": doc }, line, docText(doc, pattern));
  const gap = gapBelow(ranking.scores, at);
  if (gap) item.append(gap);
  return item;
}

// The label as a letter and a grade, so that it does not hang on colour.
function gradeOf(query, doc) {
  const letter = letterOf(query, doc), label = query.label.get(doc);
  const said = { R: "relevant, label " + label, N: "judged not relevant, label " + label, U: "unjudged: nobody looked" }[letter];
  return make("span", { class: "grade " + JUDGED[letter], title: said }, letter + (label === undefined ? "" : String(label)));
}

function moveOf(rank, before) {
  const up = before - rank;
  const [mark, kind] = !before ? ["new", "new"] : up > 0 ? ["▲" + up, "up"] : up < 0 ? ["▼" + -up, "down"] : ["=", "same"];
  const said = (before ? "rank " + before : "not ranked") + " in " + data.systems[0];
  return make("span", { class: "move " + kind, title: said }, mark);
}

// How much the score falls to the next doc; the bar is a share of the fall over all docs shown.
function gapBelow(scores, at) {
  if (at + 1 >= scores.length || typeof scores[at] === "string" || typeof scores[at + 1] === "string") return null;
  const gap = scores[at] - scores[at + 1], whole = scores[0] - scores[scores.length - 1];
  const bar = make("i", {});
  bar.style.setProperty("--share", whole > 0 ? gap / whole : 0);
  return make("p", { class: "gap", title: "score gap to the next doc" }, bar, gap === 0 ? "tie" : scoreText(gap));
}

function elsewhereOf(query, ranking) {
  const list = make("ul", {});
  for (let i = 0; i < ranking.elsewhere.length; i += 2) {
    const doc = ranking.elsewhere[i], rank = ranking.elsewhere[i + 1];
    list.append(make("li", {}, gradeOf(query, doc), " ", make("bdi", { class: "id" }, data.docs[doc]),
      rank ? " rank " + rank.toLocaleString("en") : " not retrieved"));
  }
  const more = ranking.hidden - ranking.elsewhere.length / 2;
  if (more > 0) list.append(make("li", {}, "and " + more.toLocaleString("en") + " more"));
  return make("div", { class: "elsewhere" }, make("p", {}, "Relevant, but not shown here:"), list);
}

// Pointing at a doc shows where the other systems have it.
function linkSameDocs(columns) {
  const show = (event, on) => {
    const item = event.target.closest(".doc");
    if (!item) return;
    for (const same of columns.querySelectorAll('[data-doc="' + item.dataset.doc + '"]')) same.classList.toggle("same", on);
  };
  columns.addEventListener("pointerover", (event) => show(event, true));
  columns.addEventListener("pointerout", (event) => show(event, false));
}
