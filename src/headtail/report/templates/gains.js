// Gains and losses: a bar for each query, the largest gain first. Arrow keys walk the bars, Enter or a click opens the query.
const PLOT = { height: 190, left: 46, right: 4, top: 8, bottom: 8 };
const PAPER = 680;    // pixels between the margins of a sheet
const gains = { order: [], at: 0, width: 0 };

function showGains() {
  const measured = data.queries.filter((query) => changeOf(query, state.measure, state.against) !== null);
  gains.order = measured.sort(byGain);
  gains.at = Math.min(gains.at, Math.max(0, gains.order.length - 1));
  $("balance").replaceChildren(...balance(gains.order));
  drawGains();
}

function byGain(one, other) {
  return changeOf(other, state.measure, state.against) - changeOf(one, state.measure, state.against) || one.place - other.place;
}

const SAME = 0.00005;    // values come with four digits after the point

function balance(queries) {
  const changes = queries.map((query) => changeOf(query, state.measure, state.against));
  const ups = changes.filter((change) => change > SAME), downs = changes.filter((change) => change < -SAME);
  const mean = (some) => (some.length ? " (mean " + figure(some.reduce((sum, one) => sum + one, 0) / some.length, true) + ")" : "");
  const parts = [
    make("strong", { class: "up" }, count(ups.length, "query gains", "queries gain")), mean(ups) + ", ",
    make("strong", { class: "down" }, count(downs.length, "loses", "lose")), mean(downs) + ", ",
    (changes.length - ups.length - downs.length).toLocaleString("en") + " unchanged",
  ];
  const without = data.queries.length - changes.length;
  return without ? [...parts, ", " + without.toLocaleString("en") + " without a value"] : parts;
}

function drawGains(wide = $("gains").clientWidth) {
  const plot = $("gains");
  gains.width = Math.max(280, wide || 900);
  const changes = gains.order.map((query) => changeOf(query, state.measure, state.against));
  const most = roundUp(Math.max(0.001, ...changes.map(Math.abs)));
  const y = (value) => PLOT.top + (1 - (value / most + 1) / 2) * (PLOT.height - PLOT.top - PLOT.bottom);
  const paths = { up: "", down: "", "up faded": "", "down faded": "" };
  const shown = new Set(state.matches);
  const bar = barWidth();
  changes.forEach((change, place) => {
    if (Math.abs(change) <= SAME) return;
    const kind = (change > 0 ? "up" : "down") + (shown.has(gains.order[place]) ? "" : " faded");
    const x = PLOT.left + place * bar;
    const foot = y(0).toFixed(1), across = (bar > 4 ? bar - 1 : bar).toFixed(2);
    paths[kind] += "M" + x.toFixed(2) + " " + foot + "V" + y(change).toFixed(1) + "h" + across + "V" + foot + "z";
  });
  const chart = draw("svg", { viewBox: "0 0 " + gains.width + " " + PLOT.height, width: gains.width, height: PLOT.height, "aria-hidden": "true" });
  for (const value of [most, most / 2, 0, -most / 2, -most]) {
    chart.append(draw("line", { class: value ? "grid" : "zero", x1: PLOT.left, x2: gains.width - PLOT.right, y1: y(value), y2: y(value) }),
      draw("text", { x: PLOT.left - 8, y: y(value) + 4, "text-anchor": "end" }, value ? axisText(value) : "0"));
  }
  for (const [kind, path] of Object.entries(paths)) if (path) chart.append(draw("path", { class: kind, d: path }));
  chart.append(draw("line", { class: "cursor", id: "cursor", y1: PLOT.top, y2: PLOT.height - PLOT.bottom, visibility: "hidden" }));
  plot.replaceChildren(chart);
  plot.setAttribute("aria-valuemax", gains.order.length);
}

// Few queries do not become fat bars.
const barWidth = () => Math.min(26, (gains.width - PLOT.left - PLOT.right) / Math.max(1, gains.order.length));

const roundUp = (value) => [0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1].find((step) => value <= step) || Math.ceil(value);
const axisText = (value) => (value < 0 ? "−" : "+") + String(Math.abs(value)).replace(/^0\./, ".").slice(0, 5);

function pointAt(place) {
  if (!gains.order.length) return;
  gains.at = Math.min(gains.order.length - 1, Math.max(0, place));
  const query = gains.order[gains.at], x = PLOT.left + (gains.at + 0.5) * barWidth();
  const cursor = $("cursor");
  for (const end of ["x1", "x2"]) cursor.setAttribute(end, x.toFixed(1));
  cursor.setAttribute("visibility", "visible");
  const change = changeOf(query, state.measure, state.against);
  const values = data.measures[state.measure] + " " + figure(query.values[0][state.measure]) + " → " + figure(query.values[state.against][state.measure])
    + " (" + figure(change, true) + ")";
  $("pointed").replaceChildren(make("bdi", {}, query.text || query.id), " " + values);
  $("gains").setAttribute("aria-valuenow", gains.at + 1);
  $("gains").setAttribute("aria-valuetext", query.text + ", " + values);
}

function listenToGains() {
  const plot = $("gains");
  const placeOf = (event) => {
    const box = plot.getBoundingClientRect();
    return Math.floor(((event.clientX - box.left) * (gains.width / box.width) - PLOT.left) / barWidth());
  };
  plot.addEventListener("pointermove", (event) => pointAt(placeOf(event)));
  plot.addEventListener("click", (event) => {
    if (placeOf(event) >= gains.order.length) return;
    pointAt(placeOf(event));
    goTo(gains.order[gains.at]);
  });
  plot.addEventListener("focus", () => pointAt(gains.at));
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined && event.key !== "Enter") return;
    event.preventDefault();
    if (event.key === "Enter") goTo(gains.order[gains.at]);
    else pointAt(gains.at + step);
  });
  addEventListener("beforeprint", () => drawGains(PAPER));
  addEventListener("afterprint", () => drawGains());
  new ResizeObserver(() => {
    if (plot.clientWidth && Math.abs(plot.clientWidth - gains.width) > 1) drawGains();
  }).observe(plot);
}
