// Building blocks. Text reaches the page through text nodes alone; no string is ever read as markup.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const $ = (id) => document.getElementById(id);

// A measure the way IR papers print it: .412, 1.000, −.031; a dash where there is none.
function figure(value, sign = false) {
  if (value === null || value === undefined) return "–";
  const text = Math.abs(value).toFixed(3).replace(/^0\./, ".");
  if (Number(text) === 0) return text;
  return (value < 0 ? "−" : sign ? "+" : "") + text;
}

// A score or a gap in as many digits as tell neighbours apart, whatever its size.
function scoreText(score) {
  if (typeof score === "string") return score;
  const size = Math.abs(score);
  const text = size >= 1e8 || (size > 0 && size < 1e-3) ? score.toExponential(1) : size > 0 && size < 0.1 ? score.toPrecision(3)
    : score.toFixed(size >= 1e4 ? 0 : size >= 100 ? 1 : 3);
  return text.replace("-", "−");
}

const count = (number, one, many) => number.toLocaleString("en") + " " + (number === 1 ? one : many || one + "s");
