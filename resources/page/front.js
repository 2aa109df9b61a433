"use strict";
// Accuracy and interpretability: co-bps against an axis of one's choice, for the rows of one dataset, bin width and phase.

const ACCURACY = "co-bps";
// in a sentence
const MOST_NAMES = 12;

/** A value on an axis and the ends of its interval; nothing where the row has none. */
function valueOn(row, name) {
  const { value, low = value, high = value } = row.cells[name] ?? { value: row.beside?.[name] };
  return value === undefined || value === null ? undefined : [value, low, high];
}

/** A point for each row that has co-bps, which the null model has by definition; `x` is missing for those at the margin. */
function pointsOf(rows, axis) {
  return rows.filter((row) => !["implausible", "null"].includes(row.kind) && valueOn(row, ACCURACY)).map((row) => {
    const x = valueOn(row, axis.name), y = valueOn(row, ACCURACY), front = row.front?.includes(axis.name);
    const kind = front ? "on-front" : ["competitor", "aside", "published"][row.group];
    const point = { row, x, y, kind, reason: x ? "" : whyAside(row, axis) };
    return { ...point, name: row.model, label: pointLabel(point, axis) };
  });
}

function whyAside(row, axis) {
  if (row.group === PUBLISHED) return "not published";
  return row.reasons?.[axis.name] ?? (row.kind === "oracle" ? "not a competitor" : axis.lacking);
}

/** A number in a sentence; those that are no scores may be counts, or large. */
function inWords(value) {
  return Math.abs(value) < FAR_OUT && !(Number.isInteger(value) && value > 1) ? written(value) : value.toLocaleString("en", { maximumFractionDigits: 0 });
}

function pointLabel({ row, x, y, kind, reason }, axis) {
  const [bits, other] = [[ACCURACY, y], [axis.name, x]].map(([name, found]) =>
    (found ? `${name} ${inWords(found[0])}${found[1] < found[2] ? ` ${interval(found[1], found[2])}` : ""}` : `${name}: ${reason}`));
  const said = { "on-front": "; on the front", competitor: "", aside: "; oracle", published: `; published, grade ${row.grade}` };
  return `${row.model}: ${bits}, ${other}${said[kind]}`;
}

/** Show the plot of rows of one place, or, without rows, a sentence. `open` is called with the row that is chosen. */
function showFront(rows, axes, place, open) {
  const axis = axes.find(({ name }) => name === document.getElementById("choose-axis").value);
  const figure = document.querySelector("#front figure"), status = document.getElementById("no-plot");
  const points = rows && axis ? pointsOf(rows, axis) : [];
  document.getElementById("axis-about").textContent = axis?.about ?? "";
  figure.hidden = !points.some(({ x }) => x);
  status.textContent = !rows ? "Choose one dataset, bin width and phase: a front is of one of each."
    : figure.hidden ? `Nothing here has both co-bps and ${axis?.name ?? "another axis"}.` : "";
  if (figure.hidden) return;
  const title = `co-bps against ${axis.name}: ${place}`;
  document.getElementById("plot-title").textContent = title;
  // the way of the arrow keys: from left to right, then down the margin
  const [limits, ordered] = onScales(d3.sort(points, (a, b) => (!a.x - !b.x) || (a.x ? a.x[0] - b.x[0] : b.y[0] - a.y[0])), axis);
  drawPlot(document.getElementById("plot"), ordered, axis, limits, title, ({ row }) => open(row));
  document.getElementById("beside-plot").replaceChildren(...besidePlot(ordered, rows));
  document.getElementById("plot-table").replaceChildren(element("details", {}, element("summary", {}, "The plot as a table"),
    plainTable(title, ["model", ACCURACY, axis.name, "on the front"], ordered.map(({ row, x, y, kind, reason }) => [
      row.model, inWords(y[0]), x ? inWords(x[0]) : reason, kind === "on-front" ? "yes" : kind === "competitor" ? "no" : "never",
    ]))));
}

/** Sentences on what stands at the right margin, what lies beyond an edge, and what is not drawn. */
function besidePlot(points, rows) {
  const reasons = d3.groups(points.filter(({ x }) => !x), ({ reason }) => reason);
  const implausible = rows.filter((row) => row.kind === "implausible");
  const said = reasons.map(([reason, found]) => [`At the right margin, ${reason}: `, found.map(({ row }) => row)]);
  said.push(["Drawn at an edge, beyond which they lie: ", points.filter(({ beyond }) => beyond).map(({ row }) => row)]);
  said.push(["Not drawn, implausible: ", implausible]);
  return said.filter(([, found]) => found.length).map(([words, found]) => {
    const names = found.slice(0, MOST_NAMES).map(({ model }) => model).join(", ");
    return element("li", {}, words, found.length > MOST_NAMES ? `${names} and ${found.length - MOST_NAMES} more, in the table` : names);
  });
}
