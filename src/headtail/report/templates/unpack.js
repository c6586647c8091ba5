// From base64 of deflated JSON to objects; report/payload.py writes it.
async function unpack(base64) {
  const bytes = Uint8Array.from(atob(base64.trim()), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const data = JSON.parse(await new Response(stream).text());
  data.queries.forEach((query, place) => {
    query.place = place;
    query.words = query.text.split(/\s+/).filter(Boolean).length;
    query.found = (query.id + " " + query.text).toLowerCase();
    query.label = new Map();
    for (let i = 0; i < query.labels.length; i += 2) query.label.set(query.labels[i], query.labels[i + 1]);
  });
  return data;
}

// R, N or U: relevant, judged not relevant, unjudged.
function letterOf(query, doc) {
  const label = query.label.get(doc);
  return label === undefined ? "U" : label >= data.relevant_from ? "R" : "N";
}

const JUDGED = { R: "relevant", N: "irrelevant", U: "unjudged" };

// Change of a measure from the first system to another; null where one of them has no value.
function changeOf(query, measure, system) {
  const before = query.values[0][measure], after = query.values[system][measure];
  return before === null || before === undefined || after === null || after === undefined ? null : after - before;
}

// Rank of the first relevant doc in words.
function firstRank(query, system) {
  const ranking = query.rankings[system];
  if (!ranking) return "no ranking";
  return ranking.first ? ranking.first.toLocaleString("en") : "none in " + ranking.length.toLocaleString("en");
}

// Why a query gained or lost, as a line: where its first relevant doc stood and stands, and what the measures make of it.
function why(query, system, measures) {
  const changed = (before, after) => (system === 0 ? after : before === after ? after + " as before" : before + " → " + after);
  const ranks = query.relevant
    ? "first relevant rank " + changed(firstRank(query, 0), firstRank(query, system))
    : "nothing judged relevant";
  const values = measures.map((measure) => data.measures[measure] + " "
    + changed(figure(query.values[0][measure]), figure(query.values[system][measure])));
  const line = make("span", { class: "why" });
  const parts = [ranks, ...values];
  parts.forEach((part, place) => line.append(make("span", {}, part + (place + 1 < parts.length ? ";" : "")), " "));    // none breaks inside
  return line;
}
