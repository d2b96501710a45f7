// The sweep browser's drawing: a heat map of one size of student, and the two lines that cross at the chosen point.

function pointInWords(content, temperature, alpha) {
  return `T = ${short(content.temperatures[temperature])}, alpha = ${short(content.alphas[alpha])}`;
}

function verdict([, low, high]) {
  if (low > 0) return "helps";
  return high < 0 ? "hurts" : "no clear difference";
}

export function describe(content, size, split, temperature, alpha) {
  const [mean, , high] = content.score[split][size][temperature][alpha];
  const gain = content.gain[split][size][temperature][alpha];
  const [mid, low, top] = gain.map((value) => signed(value, 1));
  const here = pointInWords(content, temperature, alpha);
  const best = pointInWords(content, ...content.best[size]);
  const where = here === best ? "is this point" : `lies at ${best}`;
  return (
    `${content.sizes[size]} units, ${here}: ${mean.toFixed(1)} % ± ${(high - mean).toFixed(1)} ` +
    `on ${content.splits[split]}, ${mid} points [${low}, ${top}] over labels only: ${verdict(gain)}. ` +
    `The best on validation ${where}.`
  );
}

const WIDTH = 800;
const TOP = 58; // of the first row of cells, and of the upper panel
const CELLS = { left: 48, width: 312, row: 52 };
const PANEL = { left: 424, width: 340, height: 96, gap: 72 };
const SIGNS = { helps: "▲", hurts: "▼", "no clear difference": "○" };

function cell(svg, box, score, gain, shade, isBest, isChosen) {
  const group = make("g", { style: "cursor: pointer" }, svg);
  make("rect", { ...box, fill: COLOURS[0], "fill-opacity": 0.04 + 0.56 * shade }, group);
  const middle = { x: box.x + box.width / 2, "text-anchor": "middle" };
  make("text", { ...middle, y: box.y + 21, class: "kd-heading" }, group, score[0].toFixed(1) + (isBest ? " ★" : ""));
  make("text", { ...middle, y: box.y + 40 }, group, `${SIGNS[verdict(gain)]} ${signed(gain[0], 1)}`);
  if (isChosen) make("rect", { ...box, class: "kd-line", "stroke-width": 4 }, group);
  return group;
}

function cells(svg, content, { size, split, temperature, alpha }, pick) {
  const scores = content.score[split][size];
  const means = scores.flat().map(([mean]) => mean);
  const [lowest, highest] = [Math.min(...means), Math.max(...means)];
  const width = CELLS.width / content.alphas.length;
  const [bestRow, bestColumn] = content.best[size];
  const order = scores.flatMap((row, r) => row.map((_, c) => [r, c]));
  const chosen = ([r, c]) => r === temperature && c === alpha;
  // The chosen cell comes last: its frame lies above its neighbours.
  for (const [r, c] of order.sort((a, b) => chosen(a) - chosen(b))) {
    const box = { x: CELLS.left + width * c, y: TOP + CELLS.row * r, width: width - 2, height: CELLS.row - 2 };
    const shade = (scores[r][c][0] - lowest) / (highest - lowest || 1);
    const isBest = r === bestRow && c === bestColumn;
    const drawn = cell(svg, box, scores[r][c], content.gain[split][size][r][c], shade, isBest, chosen([r, c]));
    drawn.addEventListener("click", () => pick({ temperature: r, alpha: c }));
  }
}

function heatMap(svg, content, values, pick) {
  const { alphas, temperatures, sizes, splits } = content;
  const title = `${sizes[values.size]} units, ${splits[values.split]} accuracy in %`;
  make("text", { x: CELLS.left, y: 16, class: "kd-heading" }, svg, title);
  make("text", { x: CELLS.left, y: 34 }, svg, "below it the gain over labels only, in points");
  make("text", { x: CELLS.left - 8, y: TOP - 6, "text-anchor": "end" }, svg, "T");
  temperatures.forEach((degrees, row) => {
    const y = TOP + CELLS.row * (row + 0.5) + 4;
    make("text", { x: CELLS.left - 8, y, "text-anchor": "end" }, svg, short(degrees));
  });
  const under = TOP + CELLS.row * temperatures.length;
  alphas.forEach((share, column) => {
    const x = CELLS.left + (CELLS.width / alphas.length) * (column + 0.5);
    make("text", { x, y: under + 16, "text-anchor": "middle" }, svg, short(share));
  });
  make("text", { x: CELLS.left + CELLS.width / 2, y: under + 34, "text-anchor": "middle" }, svg, "alpha");
  cells(svg, content, values, pick);
}

// A sign of its own for each size, beside its colour: a circle, a square, a diamond.
function mark(svg, x, y, number, radius) {
  const turn = number % 3 === 2 ? `rotate(45 ${x} ${y})` : "";
  const box = { x: x - radius, y: y - radius, width: 2 * radius, height: 2 * radius, rx: number % 3 === 0 ? radius : 0 };
  make("rect", { ...box, transform: turn, fill: COLOURS[number % COLOURS.length] }, svg);
}

// One size's line, its band and, dashed, what labels alone reach; thick where it is the chosen size.
function drawLine(svg, number, intervals, level, at, isChosen) {
  const colour = COLOURS[number % COLOURS.length];
  const joined = (places) => places.map((place) => place.join(",")).join(" ");
  const edge = (part) => intervals.map((interval, place) => at(place, interval[part]));
  const [mean, low, high] = [0, 1, 2].map(edge);
  make("polygon", { points: joined([...low, ...high.reverse()]), fill: colour, "fill-opacity": isChosen ? 0.3 : 0.15 }, svg);
  const style = { fill: "none", style: `stroke: ${colour}` };
  make("polyline", { ...style, points: joined(mean), "stroke-width": isChosen ? 3 : 1.2 }, svg);
  const [start, end] = [at(0, level), at(intervals.length - 1, level)];
  make("polyline", { ...style, points: joined([start, end]), class: "kd-limit", "stroke-width": isChosen ? 2 : 1.2 }, svg);
  mean.forEach(([x, y]) => mark(svg, x, y, number, isChosen ? 5 : 3));
}

// Lines of all sizes against one of the two settings. lines: for each size its intervals. place: the chosen tick.
function panel(svg, content, { size, split }, y, title, ticks, lines, place) {
  const bounds = [...content.score[split].flat(2), ...content.alone[split]].flat();
  const [bottom, top] = [Math.floor(Math.min(...bounds)), Math.ceil(Math.max(...bounds))];
  const step = PANEL.width / Math.max(1, ticks.length - 1);
  const at = (tick, value) => [PANEL.left + step * tick, y + (PANEL.height * (top - value)) / (top - bottom)];
  make("text", { x: PANEL.left - 44, y: y - 14, class: "kd-heading" }, svg, title);
  for (const value of [bottom, (bottom + top) / 2, top]) {
    const [x, height] = at(0, value);
    make("rect", { x, y: height, width: PANEL.width, height: 1, class: "kd-track" }, svg);
    make("text", { x: x - 12, y: height + 4, "text-anchor": "end" }, svg, short(value));
  }
  const [x] = at(place, top);
  make("line", { x1: x, x2: x, y1: y, y2: y + PANEL.height }, svg);
  ticks.forEach((tick, number) => {
    make("text", { x: at(number, 0)[0], y: y + PANEL.height + 18, "text-anchor": "middle" }, svg, short(tick));
  });
  const order = lines.map((_, number) => number).sort((a, b) => (a === size) - (b === size));
  for (const number of order) drawLine(svg, number, lines[number], content.alone[split][number][0], at, number === size);
}

function legend(svg, content, y) {
  const signs = "★ best on validation; over labels only ▲ helps, ▼ hurts, ○ no clear difference";
  make("text", { x: CELLS.left, y }, svg, signs);
  content.sizes.forEach((units, number) => {
    const x = CELLS.left + 90 * number;
    mark(svg, x + 5, y + 17, number, 5);
    make("text", { x: x + 16, y: y + 22 }, svg, `${units} units`);
  });
  const rest = `the chosen one thick; band: 95 % interval over ${content.seeds} seeds; dashed: labels only`;
  make("text", { x: CELLS.left + 90 * content.sizes.length, y: y + 22 }, svg, rest);
}

function render({ model, el }) {
  const content = model.get("content");
  const { temperatures, alphas, score, splits } = content;
  const below = TOP + Math.max(CELLS.row * temperatures.length + 34, 2 * PANEL.height + PANEL.gap + 18);
  const { svg, sentence } = stage(el, WIDTH, below + 56);
  const names = ["size", "split", "temperature", "alpha"];
  const draw = () => {
    const values = Object.fromEntries(names.map((name) => [name, model.get(name)]));
    const { size, split, temperature, alpha } = values;
    svg.replaceChildren();
    heatMap(svg, content, values, (point) => choose(model, point));
    const [degrees, share] = [short(temperatures[temperature]), short(alphas[alpha])];
    const down = score[split].map((rows) => rows.map((row) => row[alpha]));
    const across = score[split].map((rows) => rows[temperature]);
    panel(svg, content, values, TOP, `${splits[split]} accuracy against T, alpha = ${share}`, temperatures, down, temperature);
    const second = TOP + PANEL.height + PANEL.gap;
    panel(svg, content, values, second, `and against alpha, T = ${degrees}`, alphas, across, alpha);
    legend(svg, content, below + 26);
    sentence.textContent = describe(content, size, split, temperature, alpha);
  };
  draw();
  return follow(model, names, draw);
}

export default { render };
