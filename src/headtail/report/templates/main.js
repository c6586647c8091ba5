// What is chosen: a measure and a system by their places, a failure group, the queries that pass the filters in their order.
const state = { measure: 0, against: 0, group: null, matches: [], current: null, open: new Set() };
let data = null;

async function start() {
  const packed = $("packed");
  if (!packed) return;
  $("needs-script").hidden = true;
  if (!("DecompressionStream" in window)) {
    $("broken").hidden = false;
    return;
  }
  data = await unpack(packed.textContent);
  state.against = data.systems.length - 1;
  fillControls();
  $("results").hidden = false;
  refresh();
  listenToControls();
  listenToKeys();
  listenToGains();
  listenToScrolling();
  addEventListener("hashchange", goToAddress);
  goToAddress();
  document.documentElement.dataset.ready = "yes";
}

start();
