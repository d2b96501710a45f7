// The training dashboard's drawing: Python sends the curves' points a few times a second, here they become lines.

const WIDTH = 780;
const PLOT = { left: 56, right: 560, top: 44, bottom: 270 };
const DASHES = ["", "7 3", "2 2", "9 3 2 3"]; // a line's second signal beside its colour, as in dashboard.py
const LABEL = 17; // the least distance of two labels
const LONGEST = 28; // characters of a label
const DEPTH = 1e4; // the largest loss / the least that a logarithmic scale shows, as in dashboard.py

export function describe(runs) {
  const parts = runs.map(({ name, state, step, steps, points }) => {
    const far = ["waiting", "done"].includes(state) ? "" : ` ${Math.floor((100 * step) / steps)} %`;
    const loss = points.length ? `, loss ${points.at(-1)[1].toFixed(3)}` : "";
    return `${name}: ${state}${far}${loss}`;
  });
  const touched = runs.filter((run) => run.touched).map((run) => run.name);
  const honest = touched.length ? ` Changed or stopped by hand, so no measurement: ${touched.join(", ")}.` : "";
  return `${parts.join("; ")}.${honest}`;
}

// Round numbers from 0, or from below it, to just above the largest: about four steps.
export function ticks(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  const first = Math.floor(low / step);
  const last = Math.ceil(high / step);
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}

// Marks from just below `low` to just above `high`: 1, 2 and 5 times powers of ten, or powers alone where those are many.
export function logTicks(low, high) {
  const first = Math.floor(Math.log10(low));
  const decades = Math.max(1, Math.ceil(Math.log10(high)) - first);
  const powers = Array.from({ length: decades + 1 }, (_, index) => 10 ** (first + index));
  const marks = decades > 2 ? powers : powers.flatMap((power) => [power, 2 * power, 5 * power]);
  return marks.filter((_, index) => !(marks[index + 1] <= low) && !(marks[index - 1] > high));
}

// As `logarithmic` in dashboard.py.
export function logarithmic(losses) {
  return Math.min(...losses) > -Math.max(...losses) / DEPTH;
}

// Labels' heights pushed apart, in their order from the top, so that none covers another.
export function apart(heights) {
  const order = heights.map((_, index) => index).sort((a, b) => heights[a] - heights[b]);
  const placed = [...heights];
  order.forEach((index, rank) => {
    if (rank) placed[index] = Math.max(placed[index], placed[order[rank - 1]] + LABEL);
  });
  const over = Math.max(0, ...placed.map((height) => height - PLOT.bottom));
  return placed.map((height) => height - over);
}

function scales(runs) {
  const most = Math.max(...runs.map((run) => run.steps));
  const losses = runs.flatMap((run) => run.points.map(([, loss]) => loss));
  const [least, largest] = [Math.min(...losses), Math.max(...losses)];
  const log = logarithmic(losses);
  const marks = log
    ? logTicks(Math.max(least, largest / DEPTH), largest)
    : ticks(Math.min(0, least), Math.max(largest, 1e-6));
  const place = log ? (loss) => Math.log10(Math.max(loss, marks[0])) : (loss) => loss;
  const [low, high] = [place(marks[0]), place(marks.at(-1))];
  const x = (step) => PLOT.left + ((PLOT.right - PLOT.left) * step) / most;
  const y = (loss) => PLOT.bottom - ((PLOT.bottom - PLOT.top) * (place(loss) - low)) / (high - low);
  return { x, y, marks, most, log };
}

function axes(svg, { x, y, marks, most, log }) {
  const heading = `training loss, mean of a few steps${log ? ", log scale" : ""}`;
  make("text", { x: 0, y: 16, class: "kd-heading" }, svg, heading);
  for (const mark of marks) {
    make("rect", { x: PLOT.left, width: PLOT.right - PLOT.left, y: y(mark), height: 1, class: "kd-track" }, svg);
    make("text", { x: PLOT.left - 6, y: y(mark) + 4, "text-anchor": "end" }, svg, short(mark));
  }
  for (const step of [0, most / 2, most]) {
    make("text", { x: x(step), y: PLOT.bottom + 18, "text-anchor": "middle" }, svg, `${Math.round(step)}`);
  }
  make("text", { x: PLOT.right + 48, y: PLOT.bottom + 18 }, svg, "steps");
}

// Where a hand changed a number: a line through the drawing, and on the last one of a run what it was changed to.
function changes(svg, { changes: made }, number, { x }) {
  for (const [step] of made) {
    make("line", { x1: x(step), x2: x(step), y1: PLOT.top, y2: PLOT.bottom, class: "kd-limit" }, svg);
    const [middle, top] = [x(step), PLOT.top];
    const diamond = `M${middle},${top - 5}l5,5l-5,5l-5,-5z`;
    make("path", { d: diamond, fill: lineStyle(number).stroke }, svg);
  }
  if (!made.length) return;
  const [step, words] = made.at(-1);
  const anchor = x(step) > (PLOT.left + PLOT.right) / 2 ? "end" : "start";
  make("text", { x: x(step), y: PLOT.top - 9, "text-anchor": anchor }, svg, `by hand: ${words}`);
}

function lineStyle(number) {
  const [stroke, dashes] = [COLOURS[number % COLOURS.length], DASHES[number % DASHES.length]];
  return { "stroke-width": 2, stroke, "stroke-dasharray": dashes };
}

function curve(svg, { points }, number, { x, y }) {
  const path = points.map(([step, loss]) => `${x(step)},${y(loss)}`).join(" ");
  make("polyline", { points: path, fill: "none", ...lineStyle(number) }, svg);
}

function labels(svg, runs, { x, y }) {
  const heights = apart(runs.map(({ points }) => (points.length ? y(points.at(-1)[1]) : PLOT.top)));
  runs.forEach(({ name, points }, number) => {
    const style = lineStyle(number);
    const height = heights[number];
    make("path", { d: `M${PLOT.right + 14},${height}h28`, ...style }, svg);
    make("text", { x: PLOT.right + 48, y: height + 4 }, svg, clipped(name, LONGEST));
    if (!points.length) return;
    const [step, loss] = points.at(-1);
    make("circle", { cx: x(step), cy: y(loss), r: 4, fill: style.stroke }, svg);
  });
}

function render({ model, el }) {
  const { svg, sentence } = stage(el, WIDTH, PLOT.bottom + 26);
  const draw = () => {
    const runs = model.get("runs");
    svg.replaceChildren();
    const scale = scales(runs);
    axes(svg, scale);
    runs.forEach((run, number) => changes(svg, run, number, scale));
    runs.forEach((run, number) => curve(svg, run, number, scale));
    labels(svg, runs, scale);
    // Read aloud when runs pause or end; four times a second nobody could listen.
    sentence.setAttribute("aria-live", runs.some((run) => run.state === "training") ? "off" : "polite");
    sentence.textContent = describe(runs);
  };
  draw();
  return follow(model, ["runs"], draw);
}

export default { render };
