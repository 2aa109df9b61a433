"use strict";
// The table: DataTables sorts and pages it, the form above it chooses what it shows.

/** A block of data; those of many models are packed, so that one file is enough and opens from disk. */
function read(id) {
  const block = document.getElementById(id);
  if (!("packed" in block.dataset)) return JSON.parse(block.textContent);
  const bytes = Uint8Array.from(atob(block.textContent), (letter) => letter.charCodeAt(0));
  return JSON.parse(fflate.strFromU8(fflate.gunzipSync(bytes)));
}

const { metrics, datasets, rows, places, models, axes } = read("scores");
const runs = read("runs");
rows.forEach((row, i) => {
  row.runs = runs.of[i] ?? [];
  const { front = [], beside = {} } = runs.axes[i] ?? {};
  row.front = [...(row.front ?? []), ...front];
  row.beside = { ...row.beside, ...beside };
});
const headline = axes.find((axis) => axis.headline)?.name;

const form = document.getElementById("choices");
const dialog = document.getElementById("details");
const PUBLISHED = 2, MISSING = 3;
const RANKED = "Ranked by co-bps";
const GROUPS = [RANKED, "Not ranked: oracles, implausible scores and the null model", "Published elsewhere", "Without scores"];
// where the columns of dataset, bin width and phase begin, and those of the metrics
const PLACED = 2, SCORED = 5;
const PLACE = ["dataset", "bin_ms", "phase"];
// so many letters of an interval may be broken between its ends
const LONG = 17;
// on one page, on screen
const ROWS = 100;
let scales = {};

// Groups stay apart whatever is sorted, and what is missing comes last in both directions.
for (const [name, sign] of [["asc", 1], ["desc", -1]]) {
  DataTable.ext.type.order[`apart-${name}`] = ([a, x], [b, y]) => {
    if (a !== b) return a - b;
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y);
  };
}

/** A column: what it is sorted by (null if missing) and the node or text that it shows. */
function column(key, show, first = "asc") {
  return {
    data: null, type: "apart",
    orderSequence: first === "asc" ? ["asc", "desc"] : ["desc", "asc"],
    render: (row, kind) => (kind === "display" ? show(row) : [row.group, key(row) ?? null]),
  };
}

function rankCell(row) {
  if (!row.rank) return "–";
  const [best, worst] = row.cells["co-bps"].ranks ?? [row.rank, row.rank];
  const places = rows.filter((other) => other.rank && samePlace(row, other)).length;
  const said = "The dot is the rank by co-bps, the line the ranks that the data allow.";
  return cell(best === worst ? String(row.rank) : `${row.rank} (${best}–${worst})`, drawing(row.rank, best, worst, [1, places], said));
}

function samePlace(row, other) {
  return PLACE.every((key) => row[key] === other[key]);
}

function modelCell(row) {
  const notes = { control: "control", oracle: "oracle", null: "zero of bits per spike", implausible: "implausible: see the notes" };
  const note = [notes[row.kind], row.grade && `grade ${row.grade}`].filter(Boolean).join(", ");
  const button = element("button", { type: "button", "aria-haspopup": "dialog" }, ...breakable(row.model));
  const front = row.front.includes(headline)
    ? [element("small", { class: "on-front", "data-hint": `No other competitor really beats it both in co-bps and in ${headline}.` }, "on the front")] : [];
  return cell(...(row.group === MISSING ? breakable(row.model) : [button]), ...(note ? [element("small", {}, note)] : []), ...front, ...gainMark(row));
}

/** Did a job of this run fail, so that the row is without scores? */
function failed(row) {
  return row.group === MISSING && row.reason.startsWith("failed: ");
}

function sourceCell(row) {
  if (row.group === MISSING) return element("span", {}, failed(row) ? row.reason : `Missing: ${row.reason}`);
  if (row.group === PUBLISHED) return element("span", {}, `${row.source}${row.bin_stated ? "" : " (bin width not stated)"}`);
  return element("span", {}, row.source ?? "run here");
}

function scoreCell(row, metric) {
  const score = row.cells[metric.name];
  if (!score) return element("small", { class: "missing" }, row.reasons?.[metric.name] ?? (failed(row) ? "failed" : row.group === MISSING ? "missing" : "not given"));
  const marks = { best: "strong", second: "u" };
  const number = element("span", {}, element(marks[score.mark] ?? "span", {}, written(score.value)), score.unbeaten ? " *" : "");
  const spans = [
    score.low === undefined ? "" : interval(score.low, score.high),
    score.spread === undefined || score.spread === null ? "" : `± ${written(score.spread)}`,
  ].filter(Boolean).flatMap((part) => [element("span", part.length < LONG ? { class: "whole" } : {}, part), " "]);
  return cell(number, element("small", {}, ...spans), drawing(score.value, score.low, score.high, scales[metric.name],
    "The dot is the score, the line its 95 % interval over evaluation trials, the grey stroke 0."));
}

function cell(...children) {
  return element("div", { class: "cell" }, ...children);
}

const table = new DataTable("#board", {
  columns: [
    column((row) => row.rank, rankCell),
    {
      ...column((row) => row.model, modelCell),
      className: "model", cellType: "th", createdCell: (node) => node.setAttribute("scope", "row"),
    },
    column((row) => datasets[row.dataset]?.title ?? row.dataset, (row) => element("span", {}, datasets[row.dataset]?.title ?? row.dataset)),
    column((row) => row.bin_ms, (row) => `${row.bin_ms} ms`),
    column((row) => row.phase, (row) => row.phase),
    ...metrics.map((metric) => ({
      ...column((row) => row.cells[metric.name]?.value, (row) => scoreCell(row, metric), metric.lower ? "asc" : "desc"),
      className: "score", ariaTitle: metric.name, createdCell: (node) => { node.dataset.metric = metric.name; },
    })),
    column((row) => row.seeds?.length, (row) => (row.seeds ? String(row.seeds.length) : "–"), "desc"),
    { ...column((row) => row.source ?? row.reason, sourceCell), className: "source" },
  ].map((made) => ({ searchable: false, ...made })),
  order: [[0, "asc"]],
  orderDescReverse: false,
  autoWidth: false,
  pageLength: ROWS,
  drawCallback() { this.api().table().container().querySelector(".dt-paging").hidden = this.api().page.info().pages < 2; },
  layout: { topStart: null, topEnd: null, bottomStart: "info", bottomEnd: "paging" },
  language: {
    info: "Rows _START_ to _END_ of _TOTAL_", infoEmpty: "No rows", infoFiltered: "",
    zeroRecords: "Nothing matches; clear the search or choose another dataset.",
  },
  rowGroup: {
    dataSrc: "group",
    startRender: (found, group) => element("tr", {},
      element("th", { scope: "rowgroup", colspan: found.columns(":visible").count() }, element("span", {}, groupTitle(group)))),
  },
});


/** What stands over a group of rows; competitors may be sorted by something else than their rank. */
function groupTitle(group) {
  const { name } = table.column(table.order()[0][0]).header().dataset;
  return GROUPS[group] !== RANKED || ["rank", "co-bps"].includes(name) ? GROUPS[group] : `Competitors by ${name}; ranks are by co-bps`;
}

/** Does a row, or what the page says of the data of a place, belong to the chosen dataset, bin width and phase? */
function chosen(row) {
  return PLACE.every((key) => ["", String(row[key])].includes(form.elements[key].value));
}

/** Show what is chosen: the columns, their scales, and the rows. */
function show() {
  // over all rows of the choice, so that they stay while a model is searched for
  const found = rows.filter(chosen);
  scales = Object.fromEntries(metrics.map((metric) => [metric.name, scaleOf(metric, found)]));
  const wanted = new Set([...form.querySelectorAll("[name=metric]:checked")].map((box) => box.value));
  PLACE.forEach((key, i) => table.column(PLACED + i).visible(form.elements[key].value === "", false));
  metrics.forEach(({ name }, i) => {
    const shown = table.column(SCORED + i);
    shown.visible(wanted.has(name) && scales[name] !== null, false);
    if (scales[name]) shown.header().querySelector(".scale").textContent = scales[name].map((end) => written(end, 2)).join(" to ");
  });
  table.column(-1).visible(found.some((row) => row.source ?? row.reason), false);
  const nowhere = [...wanted].filter((name) => scales[name] === null);
  document.getElementById("nowhere").textContent = nowhere.length ? `No row of this choice has ${nowhere.join(" or ")}.` : "";
  document.getElementById("place").textContent = PLACE.map((key) => form.elements[key].selectedOptions[0].textContent).join(", ");
  for (const part of document.querySelectorAll(".data")) part.hidden = !chosen(part.dataset);
  for (const part of document.querySelectorAll(".dataset")) part.hidden = !["", part.dataset.dataset].includes(form.elements.dataset.value);
  const ofBoth = rows.filter((row) => ["dataset", "bin_ms"].every((key) => ["", String(row[key])].includes(form.elements[key].value)));
  showPhases(ofBoth, (name) => datasets[name]?.title ?? name);
  // rows that were drawn before may have been drawn on other scales
  table.rows((i, row, node) => node && chosen(row)).invalidate();
  search();
  plot();
}

/** Draw the plot of the rows that are chosen, if they are of one place. */
function plot() {
  const one = PLACE.every((key) => form.elements[key].value !== "");
  showFront(one ? rows.filter(chosen) : null, axes, document.getElementById("place").textContent, openRow);
}

function search() {
  const words = form.elements.model.value.toLowerCase().split(/\s+/);
  table.search.fixed("choices", (text, row) => chosen(row) && words.every((word) => row.model.toLowerCase().includes(word)));
  table.draw();
  fit();
}

/** A table as wide as the window keeps its header in sight; a wider one scrolls sideways in a frame of its own. */
function fit() {
  const region = document.getElementById("board-region");
  region.classList.remove("fits");
  region.classList.toggle("fits", table.table().node().offsetWidth <= region.clientWidth);
}

// what a header means is also read aloud where it is sorted by
for (const header of document.querySelectorAll("#board [data-means]")) {
  header.querySelector(".dt-column-order").setAttribute("aria-describedby", header.dataset.means);
}
table.rows.add(rows);
form.addEventListener("input", ({ target }) => (target.type === "search" ? search() : show()));
document.getElementById("choose-axis").addEventListener("input", plot);
addEventListener("resize", () => { fit(); plot(); });
form.addEventListener("submit", (event) => event.preventDefault());
show();

// The button of a row is for the keyboard; a click anywhere in the row opens the same dialog.
table.table().body().addEventListener("click", ({ target }) => {
  const row = table.row(target.closest("tr")).data();
  const button = target.closest("tr").querySelector("th button");
  if (!row || !button) return;
  button.focus();
  openRow(row, target.closest("td")?.dataset.metric);
});

/** Open the details of a row; `asked` is the metric that was clicked on, if any. */
function openRow(row, asked) {
  showDetails(dialog, row, {
    metrics, runs: row.runs, shared: runs.shared, dataset: datasets[row.dataset] ?? {}, model: row.runs.length && Object.hasOwn(models, row.model) ? models[row.model] : undefined,
    data: places.find((place) => samePlace(place, row)), asked,
  });
}
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

// DataTables' buttons are elements with a role, which listen to Enter alone.
document.addEventListener("keydown", (event) => {
  if (event.key !== " " || !event.target.matches("[role=button]")) return;
  event.preventDefault();
  event.target.click();
});

// On paper: every row of the choice.
addEventListener("beforeprint", () => table.page.len(-1).draw());
addEventListener("afterprint", () => table.page.len(ROWS).draw());
