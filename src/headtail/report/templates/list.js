// The list is built a piece at a time, as one scrolls down, so that a thousand queries open as fast as ten.
const PIECE = 40;

function fillList() {
  $("list").replaceChildren();
  growList();
  $("nothing").hidden = state.matches.length > 0;
}

function growList(upTo = 0) {
  const list = $("list");
  const end = Math.max(list.childElementCount + PIECE, upTo);
  list.append(...state.matches.slice(list.childElementCount, end).map(queryRow));
}

function listenToScrolling() {
  new IntersectionObserver((seen) => {
    if (seen.some((one) => one.isIntersecting) && $("list").childElementCount < state.matches.length) {
      growList();
      again();
    }
  }, { rootMargin: "1500px" }).observe($("end"));
  // The observer tells of changes alone: after a piece that left the end in sight it is asked anew.
  const again = () => requestAnimationFrame(() => {
    const near = $("end").getBoundingClientRect().top < innerHeight + 1500;
    if (near && $("list").childElementCount < state.matches.length) { growList(); again(); }
  });
}

// Show a query, opened, even where filters hide it.
function goTo(query, open = true) {
  if (!state.matches.includes(query)) {
    clearFilters();
    refresh();
  }
  const place = state.matches.indexOf(query);
  growList(place + 1);
  const row = $("list").children[place];
  if (open) {
    fillRow(row);    // before the page scrolls to it: it is taller then
    row.open = true;
  }
  state.current = query;
  row.querySelector("summary").focus({ preventScroll: true });
  row.scrollIntoView({ block: "start", behavior: "instant" });
}

// The address names the query opened last, so that it can be copied. Where the browser refuses, the link in the query remains.
function remember(query) {
  state.current = query;
  try {
    history.replaceState(null, "", "#q=" + encodeURIComponent(query.id));
  } catch { /* a page opened from disk may not be allowed to */ }
}

function goToAddress() {
  if (!location.hash.startsWith("#q=")) return;
  let id = location.hash.slice(3);
  try { id = decodeURIComponent(id); } catch { /* as it stands */ }
  const query = data.queries.find((one) => one.id === id);
  if (query) goTo(query);
}
