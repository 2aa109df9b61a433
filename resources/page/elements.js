"use strict";
// Small parts that the table and the dialog are made of. Text is always set as text, never parsed as HTML.

/** An element with attributes and children, which are elements or text. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// no score that is worth its digits
const FAR_OUT = 1000;

/** A number as tables show it, without a sign at zero. */
function written(value, digits = 4) {
  // one that is far out takes no more room than others
  const text = Math.abs(value) < FAR_OUT ? value.toFixed(digits) : value.toExponential(2);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

/** A name that may be broken after underscores. */
function breakable(name) {
  return name.split(/(?<=_)/).flatMap((part) => [part, element("wbr")]);
}

/** Text with what stands between backticks set as code. */
function marked(text) {
  return text.split("`").map((part, i) => (i % 2 ? element("code", {}, part) : part));
}

function interval(low, high) {
  return `[${written(low, 3)}, ${written(high, 3)}]`;
}

/** The limits of a metric's scale over some rows: all values and intervals, and zero where it lies among them. */
function scaleOf(metric, rows) {
  const ends = rows.flatMap(({ cells: { [metric.name]: cell } }) =>
    cell ? [cell.value, cell.low ?? cell.value, cell.high ?? cell.value] : []);
  return ends.length ? limitsOf(ends, metric.lower) : null;
}

/** The limits of a scale that is to show some values. */
function limitsOf(values, lowerIsBetter) {
  const high = Math.max(...values);
  const low = Math.min(...values);
  // one model far below zero must not press all others together: what lies lower is drawn at the edge
  return [high > 0 && !lowerIsBetter ? Math.max(low, -high) : low, high];
}

/** A score on its scale: a line for the interval, a dot for the value, a stroke at zero. Read aloud as the text beside it. */
function drawing(value, low, high, [from, to], said) {
  const at = (x) => `${(3 + 94 * Math.min(1, Math.max(0, (x - from) / (to - from || 1)))).toFixed(2)}%`;
  const shape = (name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, x] of Object.entries(attributes)) made.setAttribute(key, x);
    return made;
  };
  const svg = shape("svg", { class: "bar", "aria-hidden": "true", "data-hint": said });
  if (from < 0 && to > 0) svg.append(shape("line", { class: "zero", x1: at(0), x2: at(0), y1: "0", y2: "100%" }));
  if (low !== undefined) svg.append(shape("line", { class: "interval", x1: at(low), x2: at(high), y1: "50%", y2: "50%" }));
  svg.append(shape("circle", { class: value < from ? "value below" : "value", cx: at(value), cy: "50%", r: "3" }));
  return svg;
}

/** A table with a caption, a row of headers and rows whose first cell is a header. */
function plainTable(caption, headers, rows) {
  const head = headers.map((text) => element("th", { scope: "col" }, text));
  const body = rows.map(([first, ...cells]) =>
    element("tr", {}, element("th", { scope: "row" }, first), ...cells.map((cell) => element("td", {}, cell))));
  return element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption }, element("table", {},
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...body)));
}
