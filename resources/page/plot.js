"use strict";
// A scatter plot, drawn by Plot: its points can be chosen by pointer and keyboard.

// in pixels: margins, the strip for points without x, and how near to a point a click means it
const LEFT = 64, ABOVE = 16, BELOW = 48, INSET = 14, STRIP = 44, NEAR = 24;
// in pixels: how far those in the strip are moved sideways in turn where they are nearer to each other than that
const LANES = [0, 13, -13];
// in pixels: between a point and its name, and how far a point reaches
const AWAY = 9, REACH = 7;
const SYMBOLS = { "on-front": "circle", competitor: "circle", aside: "diamond", published: "triangle" };

/** The limits of both scales, and the points with the places where they are drawn, `ax` and `ay`: what lies `beyond`, at an edge. */
function onScales(points, axis) {
  const placed = points.filter(({ x }) => x);
  const [low, high] = limitsOf(placed.flatMap(({ y }) => y), false);
  // what stands at the margin must not press the others together either
  const near = points.flatMap(({ y }) => y).filter((end) => Math.abs(end - (low + high) / 2) <= 1.5 * (high - low));
  const limits = [limitsOf(placed.flatMap(({ x }) => x), axis.less), d3.extent([low, high, ...near])];
  const drawn = (ends, i) => ends?.map((end) => Math.min(limits[i][1], Math.max(limits[i][0], end)));
  return [limits, points.map((point) => {
    const ax = drawn(point.x, 0), ay = drawn(point.y, 1);
    return { ...point, ax, ay, beyond: ay[0] !== point.y[0] || ax?.[0] !== point.x?.[0] };
  })];
}

/** Draw points into a box, as wide as the box is; those with x come first. `choose` is called with the one that is chosen. */
function drawPlot(box, points, axis, limits, title, choose) {
  const width = box.clientWidth, height = Math.round(Math.min(420, Math.max(300, width * 0.55)));
  const [placed, aside] = [points.filter(({ ax }) => ax), points.filter(({ ax }) => !ax)];
  const right = aside.length ? STRIP : 12;
  const lanes = lanesOf(aside, (height - ABOVE - BELOW - 2 * INSET) / (limits[1][1] - limits[1][0]));
  const inStrip = { value: aside.map((_, i) => width - right / 2 + lanes[i]), scale: null };
  const dots = { y: ({ ay }) => ay[0], symbol: ({ kind }) => SYMBOLS[kind], r: 5 };
  const bits = { y1: ({ ay }) => ay[1], y2: ({ ay }) => ay[2], className: "interval" };
  const across = { ticks: width / 110 }, up = { ticks: height / 60 };
  // a scale of one value has no step by which its digits could be told
  const format = axis.log ? "~s" : limits[0][0] === limits[0][1] ? ".3~r" : null;
  const names = { labelAnchor: "center", labelArrow: "none" };
  const svg = Plot.plot({
    width, height, marginLeft: LEFT, marginRight: right, marginTop: ABOVE, marginBottom: BELOW, inset: INSET, className: "plot", ariaLabel: title,
    x: { type: axis.log ? "log" : "linear", domain: limits[0], label: `${axis.name} (${axis.less ? "less" : "more"} is better)` },
    y: { domain: limits[1], label: ACCURACY },
    marks: [
      Plot.gridX(across), Plot.gridY(up),
      Plot.axisX({ ...across, ...names, ...(format && { tickFormat: format }) }), Plot.axisY({ ...up, ...names }),
      Plot.line(placed.filter(({ kind }) => kind === "on-front"), { x: ({ ax }) => ax[0], y: dots.y, className: "front-line" }),
      Plot.ruleX(placed.filter(hasInterval("ay")), { ...bits, x: ({ ax }) => ax[0] }),
      ...(aside.length ? [Plot.frame({ anchor: "right", className: "margin" })] : []),
      Plot.ruleX(aside, { ...bits, x: inStrip, filter: hasInterval("ay") }),
      Plot.ruleY(placed.filter(hasInterval("ax")), { y: dots.y, x1: ({ ax }) => ax[1], x2: ({ ax }) => ax[2], className: "interval" }),
      Plot.dot(placed, { ...dots, x: ({ ax }) => ax[0], sort: null, className: "points" }),
      Plot.dot(aside, { ...dots, x: inStrip, sort: null, className: "points" }),
    ],
  });
  // the style that it brings along is forbidden by the page's policy; what is needed of it is in style.css
  svg.querySelector("style").remove();
  const held = [...box.querySelectorAll(".points > *")].indexOf(document.activeElement);
  box.replaceChildren(svg);
  const at = { x: svg.scale("x").apply, y: svg.scale("y").apply };
  const spots = points.map((point, i) => ({
    ...point, x: point.ax ? at.x(point.ax[0]) : inStrip.value[i - placed.length], y: at.y(point.ay[0]), end: point.ax ? width - right : width,
  }));
  const nodes = makeChoosable(svg, spots, choose);
  // when the window gets another width
  if (held >= 0) move(nodes, 0, Math.min(held, nodes.length - 1));
  placeNames(svg, d3.sort(spots, ({ kind }) => kind !== "on-front"));
}

/** How far each point in the strip, from the highest down, is moved sideways. */
function lanesOf(aside, pixels) {
  let lane = 0;
  return aside.map(({ ay }, i) => {
    lane = i && (aside[i - 1].ay[0] - ay[0]) * pixels < LANES[1] ? (lane + 1) % LANES.length : 0;
    return LANES[lane];
  });
}

function hasInterval(key) {
  return ({ [key]: ends }) => ends[1] < ends[2];
}

/** Let points be chosen: a click means the nearest; one is reached by Tab, the others from there by arrow keys. Their nodes. */
function makeChoosable(svg, spots, choose) {
  const nodes = [...svg.querySelectorAll(".points > *")];
  svg.setAttribute("role", "listbox");
  // axes and bars are told with each point
  for (const layer of svg.querySelectorAll(":scope > :not(.points)")) layer.setAttribute("aria-hidden", "true");
  for (const layer of svg.querySelectorAll(".points")) {
    layer.removeAttribute("aria-label");
    layer.setAttribute("role", "presentation");
  }
  nodes.forEach((node, i) => {
    const { kind, label, beyond } = spots[i];
    for (const [key, value] of Object.entries({ class: beyond ? `${kind} beyond` : kind, role: "option", "aria-label": label, "data-hint": label, tabindex: i ? -1 : 0 })) {
      node.setAttribute(key, value);
    }
  });
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };
  svg.addEventListener("keydown", (event) => {
    const i = nodes.indexOf(event.target);
    if (["Enter", " "].includes(event.key)) choose(spots[i]);
    else if (event.key in steps) move(nodes, i, Math.min(nodes.length - 1, Math.max(0, i + steps[event.key])));
    else return;
    event.preventDefault();
  });
  svg.addEventListener("click", (event) => {
    const [x, y] = d3.pointer(event, svg);
    const i = d3.minIndex(spots, (spot) => Math.hypot(spot.x - x, spot.y - y));
    if (Math.hypot(spots[i].x - x, spots[i].y - y) > NEAR) return;
    move(nodes, nodes.findIndex((node) => node.tabIndex === 0), i);
    choose(spots[i]);
  });
  return nodes;
}

function move(nodes, from, to) {
  nodes[from].setAttribute("tabindex", -1);
  nodes[to].setAttribute("tabindex", 0);
  nodes[to].focus();
}

/** Write names into the plot, the earlier ones first. `spots` have x and y in pixels, and where the room for the name ends. */
function placeNames(svg, spots) {
  const taken = spots.map(({ x, y }) => [x - REACH, y - REACH, x + REACH, y + REACH]);
  const bottom = svg.height.baseVal.value - BELOW;
  const layer = d3.select(svg).append("g").attr("class", "names").attr("aria-hidden", "true");
  for (const { x, y, name, kind, end } of spots) {
    const text = layer.append("text").attr("class", kind).attr("text-anchor", "start").text(name);
    const { x: left, y: top, width, height } = text.node().getBBox();
    const places = [[x + AWAY, y], [x - AWAY - width, y], [x - width / 2, y - AWAY - height / 2], [x - width / 2, y + AWAY + height / 2]];
    const boxes = places.map(([from, middle]) => [from, middle - height / 2, from + width, middle + height / 2]);
    const free = boxes.find((box) => box[0] >= LEFT && box[1] >= 0 && box[2] <= end && box[3] <= bottom && !taken.some((other) => overlap(box, other)));
    if (!free) {
      text.remove();
      continue;
    }
    taken.push(free);
    text.attr("x", free[0] - left).attr("y", free[1] - top);
  }
}

function overlap(a, b) {
  return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
}
