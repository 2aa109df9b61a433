"use strict";
// Phases val and test side by side: the rows of phase test that say how the same model does on val.

const GAIN = "better on test than val allows";

/** A gap or standard errors with their sign; nothing where they are not known. */
function signed(value, digits) {
  return value === undefined ? "" : (value > 0 ? "+" : "") + written(value, digits);
}

/** What a row of phase test says of its gap. */
function gapFacts({ model, gap: { reference, value, errors, suspicious } }) {
  if (model === reference) return { gap: "none: it is the reference" };
  const known = { reference, gap: signed(value) || "not compared", "standard errors": signed(errors, 1) || "not known" };
  return suspicious ? { ...known, mark: GAIN } : known;
}

/** The mark of a row whose score on test is better than the one on val allows. */
function gainMark({ gap }) {
  if (!gap?.suspicious) return [];
  return [element("small", { "data-hint": `On test it gains ${signed(gap.value)} on ${gap.reference}, ${signed(gap.errors, 1)} standard errors.` }, GAIN)];
}

/** A table for each dataset and bin width of some rows, best on val first. */
function phaseTables(rows, titleOf) {
  const places = d3.groups(rows.filter((row) => row.gap), (row) => row.dataset, (row) => row.bin_ms);
  const onVal = new Map(rows.filter((row) => row.phase === "val").map((row) => [JSON.stringify([row.dataset, row.bin_ms, row.model]), row]));
  return places.flatMap(([dataset, widths]) => widths.map(([bin_ms, found]) => {
    const lines = found.map((row) => [onVal.get(JSON.stringify([dataset, bin_ms, row.model])), row]).filter(([val]) => val);
    return plainTable(`${titleOf(dataset)}, ${bin_ms} ms bins`, ["model", "val", "test", "gap", "standard errors", "mark"],
      d3.sort(lines, ([val]) => -val.cells["co-bps"].value).map(([val, row]) => [
        row.model, ...[val, row].map(({ cells: { "co-bps": cell } }) => written(cell.value) + (cell.low === undefined ? "" : ` ${interval(cell.low, cell.high)}`)),
        row.model === row.gap.reference ? "reference" : signed(row.gap.value) || "not compared", signed(row.gap.errors, 1), row.gap.suspicious ? GAIN : "",
      ]));
  }));
}

/** Show both phases of some rows; of many models that takes a moment, so it waits until it is asked for. */
function showPhases(rows, titleOf) {
  const details = document.getElementById("phases-details");
  if (!details) return;
  const fill = () => details.open && document.getElementById("phases-tables").replaceChildren(...phaseTables(rows, titleOf));
  details.ontoggle = fill;
  fill();
}
