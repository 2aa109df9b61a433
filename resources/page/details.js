"use strict";
// The dialog behind a row: every score of every seed, and what made it.

/** Open the dialog for a row; `runs` are those behind it, `asked` is the metric that was clicked on, if any. */
function showDetails(dialog, row, { metrics, runs, shared, dataset, model, data, asked }) {
  const title = element("h2", { id: "details-title" }, ...breakable(row.model));
  const close = element("button", { type: "button", class: "close" }, "Close");
  close.addEventListener("click", () => dialog.close());
  const where = `${dataset.title ?? row.dataset}, ${row.bin_ms} ms bins, ${row.phase} phase`;
  dialog.replaceChildren(
    element("header", {}, element("div", {}, title, element("p", {}, where)), close),
    scoreTable(row, metrics, asked),
    ...(row.grade ? [facts("Evidence", evidence(row))] : []),
    ...(row.gap ? [facts("Val and test", gapFacts(row))] : []),
    ...(model ? [modelDetails(model, row.grade ? "What its authors say of it" : "What it assumes, tells and costs")] : []),
    ...runs.map((run, i) => runDetails(row, run, i, shared)),
    ...(dataset.title ? [facts("Dataset", { name: row.dataset, cite: element("span", {}, ...linked(dataset.citation)), licence: dataset.license })] : []),
    ...(data ? [plainTable("What the data are", ["name", "value"], [...data.summary, ...data.notes.map((note) => ["note", note])])] : []),
  );
  dialog.showModal();
  dialog.scrollTop = 0;
}

/** What the model's file or its entry says of it: a sentence, what it follows with links to papers, and its card, if any. */
function modelDetails({ about, more = [], card }, title) {
  const fields = card.map(([field, words]) => element("div", {}, element("dt", {}, field), element("dd", {}, ...linked(words))));
  return element("div", { class: "card" },
    ...[about, ...more].filter(Boolean).map((words) => element("p", {}, ...linked(words))),
    ...(card.length ? [element("details", {}, element("summary", {}, title), element("dl", {}, ...fields))] : []));
}

function scoreTable(row, metrics, asked) {
  const several = row.seeds?.length > 1;
  const headers = ["metric", "score", "95 % interval", "ranks"];
  if (several) headers.push("spread", ...row.seeds.map((seed) => `seed ${seed}`));
  const rows = metrics.filter(({ name }) => name in row.cells).map(({ name }) => {
    const cell = row.cells[name];
    return [
      name === asked ? element("strong", {}, name) : name,
      written(cell.value),
      cell.low === undefined ? "none" : interval(cell.low, cell.high),
      cell.ranks ? ranks(cell.ranks) : "not ranked",
      ...(several ? [cell.spread === null ? "none" : `± ${written(cell.spread)}`, ...cell.seeds.map(seedScore)] : []),
    ];
  });
  for (const [name, reason] of Object.entries(row.reasons ?? {})) {
    rows.push([name, `missing: ${reason}`, ...headers.slice(2).map(() => "–")]);
  }
  return plainTable(several ? "Scores: means over seeds, and each seed" : "Scores", headers, rows);
}

function seedScore([value, low, high]) {
  if (value === null) return "missing";
  return element("span", {}, written(value), ...(low === undefined ? [] : [element("small", {}, interval(low, high))]));
}

function ranks([best, worst]) {
  return best === worst ? String(best) : `${best}–${worst}`;
}

function evidence(row) {
  const bins = row.bin_stated ? `${row.bin_ms} ms` : `not stated; ${row.bin_ms} ms is taken`;
  const source = element("span", {}, ...linked(row.source));
  return { grade: row.grade, source, ...("bin_stated" in row ? { "bin width": bins } : {}) };
}

function runDetails(row, run, i, shared) {
  const seed = row.seeds[i];
  const folder = [row.dataset, `${row.bin_ms}ms`, row.phase, row.model, seed].map(encodeURIComponent).join("/");
  const stages = { "answers": run.target === undefined ? null : shared[run.target] };
  for (const [name, stage] of [["prediction", run.prediction], ["score", run.score]]) {
    stages[name] = stage ? { ...shared[stage[0]], ...stage[1] } : null;
  }
  const made = Object.entries(stages).filter(([, record]) => record);
  const keys = Object.keys(LABELS).filter((key) => made.some(([, record]) => key in record));
  const provenance = plainTable("Provenance", ["name", ...made.map(([name]) => name)], keys.map((key) => [
    LABELS[key], ...made.map(([, record]) => (record[key] === undefined ? "not recorded" : text(record[key]))),
  ]));
  const files = run.prediction ? ["prediction.h5", "scores.json"] : ["scores.json"];
  const links = files.flatMap((name) => [element("a", { href: `${folder}/${name}` }, name), " "]);
  return element("details", i === 0 ? { open: "" } : {},
    element("summary", {}, row.kind === "null" ? "How it was made" : `How seed ${seed} was made`),
    element("p", {}, "Files beside this page: ", ...links),
    provenance,
    ...(Object.keys(shared[run.params]).length ? [facts("Parameters of the model", shared[run.params])] : []),
    ...(Object.keys(shared[run.facts]).length ? [facts("Facts that the model reports", shared[run.facts])] : []),
  );
}

const LABELS = {
  dataset_version: "dataset version",
  code_digest: "digest of code and settings",
  commit: "commit",
  packages: "packages",
  device: "device",
  confined: "model kept from the answers by",
  machine: "machine",
  seconds: "seconds",
  side_by_side: "seeds trained side by side, of which these seconds are a share",
  peak_mb: "peak memory, MB",
  date: "date",
};

function text(value) {
  if (value === null || value === "") return "none";
  if (typeof value !== "object") return String(value);
  return Object.entries(value).map(([key, part]) => (Array.isArray(value) ? text(part) : `${key} ${text(part)}`)).join(", ");
}

function facts(caption, content) {
  return plainTable(caption, ["name", "value"], Object.entries(content).map(([key, value]) => [key, value instanceof Node ? value : text(value)]));
}
