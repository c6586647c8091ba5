// The query's words in a doc: report/snippets.py chose them, here they are marked.
const EXCERPT = 360;    // characters of a doc seen before one asks for more
const WIDE = /[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]/u;

function termPattern(terms) {
  if (!terms.length) return null;
  const literal = (text) => text.replace(/[.*+?^${}()|[\]\\\/]/g, "\\$&");
  const plural = (term) => (term.endsWith("y") ? literal(term.slice(0, -1)) + "(?:y|ies?)" : literal(term) + "(?:s|es)?");
  const parts = terms.map((term) => (WIDE.test(term) ? literal(term) : "(?<![\\p{L}\\p{N}_])" + plural(term) + "(?![\\p{L}\\p{N}_])"));
  return new RegExp(parts.join("|"), "giu");
}

function appendMarked(parent, text, pattern) {
  let at = 0;
  for (const match of pattern ? text.matchAll(pattern) : []) {
    parent.append(text.slice(at, match.index), make("mark", {}, match[0]));
    at = match.index + match[0].length;
  }
  parent.append(text.slice(at));
}

// The stretch of a text with most marks in it, as [start, end].
function excerptOf(text, pattern) {
  if (text.length <= EXCERPT * 1.2) return [0, text.length];    // a rest of a few words is not worth a click
  const starts = pattern ? Array.from(text.matchAll(pattern), (match) => match.index) : [];
  let best = 0, most = 0;
  starts.forEach((start, i) => {
    const begin = Math.max(0, start - 45);
    let inside = 0;
    while (i + inside < starts.length && starts[i + inside] < begin + EXCERPT - 20) inside += 1;
    if (inside > most) { most = inside; best = begin; }
  });
  if (best < 60) best = 0;
  best = Math.min(best, text.length - EXCERPT);
  const space = best ? text.indexOf(" ", best) : -1;
  const start = space >= 0 && space < best + 30 ? space + 1 : best;
  const last = text.lastIndexOf(" ", start + EXCERPT);
  return [start, last > start + EXCERPT - 30 ? last : start + EXCERPT];
}

function docText(doc, pattern) {
  const [text, before, after] = data.texts[doc];
  if (!text) return make("p", { class: "none" }, before + after ? "text left out" : "no text");
  const [start, end] = excerptOf(text, pattern);
  const shown = make("p", { class: "doc-text", dir: "auto" });
  const show = (from, to) => {
    shown.replaceChildren();
    if (from || before) shown.append("… ");
    appendMarked(shown, text.slice(from, to), pattern);
    if (to < text.length || after) shown.append(" …");
  };
  show(start, end);
  if (start === 0 && end === text.length) return shown;
  const more = make("button", { type: "button", class: "more", "aria-expanded": "false" }, "more");
  more.addEventListener("click", () => {
    const open = more.getAttribute("aria-expanded") === "false";
    more.setAttribute("aria-expanded", String(open));
    more.textContent = open ? "less" : "more";
    show(...(open ? [0, text.length] : [start, end]));
  });
  const both = document.createDocumentFragment();
  both.append(shown, more);
  return both;
}
