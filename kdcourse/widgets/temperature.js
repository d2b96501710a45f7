// The temperature explorer's drawing. All arithmetic is done here, where the sliders are, so it answers within a frame.

export function withBias(logits, biased, bias) {
  return logits.map((logit, index) => logit + (index === biased ? bias : 0));
}

function softmaxInWords(logits, classes, temperature) {
  const p = softened(logits, temperature);
  const named = ranked(logits).slice(0, 3).map((index) => `${classes[index]} ${(100 * p[index]).toFixed(1)} %`);
  return `T = ${short(temperature)}: ${named.join(", ")}; entropy ${entropy(p).toFixed(2)}`;
}

export function describe(logits, classes, label, temperature, beside, biased, bias) {
  const changed = withBias(logits, biased, bias);
  const sign = bias > 0 ? "+" : "−";
  const byHand = bias ? ` with ${sign}${short(Math.abs(bias))} on the logit of ${classes[biased]}` : "";
  const most = Math.log(classes.length).toFixed(2);
  const [first, second] = [temperature, beside].map((degrees) => softmaxInWords(changed, classes, degrees));
  return `${classes[label]}${byHand} at ${first} of at most ${most} nats. Beside it at ${second}.`;
}

const [BLUE, ORANGE, GREEN] = COLOURS;
const MAX_ROWS = 20; // rows that fit a screen; of more classes the likeliest are shown
const ROW = 27;
const RANK = 136;
const NAME = RANK + 150; // right edge of the class names
const LOGITS = { left: NAME + 10, width: 130 };
const SCALED = LOGITS.left + LOGITS.width + 55; // right edge of the numbers z / T
const BAR = { left: SCALED + 15, width: 200 };
const NUMBERS = BAR.left + BAR.width + 8;
const WIDTH = NUMBERS + 120;

function headings(svg) {
  const heading = { y: 16, class: "kd-heading" };
  make("text", { ...heading, x: RANK }, svg, "rank");
  make("text", { ...heading, x: NAME, "text-anchor": "end" }, svg, "class");
  make("text", { ...heading, x: LOGITS.left }, svg, "logit z");
  make("text", { ...heading, x: SCALED, "text-anchor": "end" }, svg, "z / T");
  make("text", { ...heading, x: BAR.left }, svg, "probability (thin: beside it)");
}

// Two bars, a thick one and a thin one under it, with their numbers.
function barPair(svg, y, fill) {
  const track = { x: BAR.left, width: BAR.width, class: "kd-track" };
  make("rect", { ...track, y: y + 3, height: 12 }, svg);
  make("rect", { ...track, y: y + 18, height: 5 }, svg);
  return {
    thick: make("rect", { x: BAR.left, y: y + 3, height: 12, width: 0, fill }, svg),
    thin: make("rect", { x: BAR.left, y: y + 18, height: 5, width: 0, class: "kd-ink" }, svg),
    numbers: make("text", { x: NUMBERS, y: y + 16 }, svg),
  };
}

// Everything that does not move is drawn once for a picture; a change of a slider moves bars and numbers only.
function table(svg, example, classes) {
  make("image", { href: example.picture, x: 0, y: ROW, width: 112, height: 112, "image-rendering": "pixelated" }, svg);
  headings(svg);
  const shown = ranked(example.logits).slice(0, MAX_ROWS).sort((a, b) => a - b);
  const middle = LOGITS.left + LOGITS.width / 2;
  const rows = shown.map((index, place) => {
    const y = ROW * (place + 1);
    make("text", { y: y + 16, x: NAME, "text-anchor": "end" }, svg, classes[index]);
    make("line", { x1: middle, x2: middle, y1: y, y2: y + ROW }, svg);
    return {
      index,
      rank: make("text", { y: y + 16, x: RANK }, svg),
      logit: make("rect", { y: y + 5, height: 13, class: "kd-ink" }, svg),
      scaled: make("text", { y: y + 16, x: SCALED, "text-anchor": "end" }, svg),
      ...barPair(svg, y, BLUE),
    };
  });
  const y = ROW * (rows.length + 1);
  const even = BAR.left + BAR.width / classes.length;
  make("line", { x1: even, x2: even, y1: ROW, y2: y, class: "kd-limit" }, svg);
  make("text", { x: RANK, y: y + 18 }, svg, `★ takes all as T → 0; the dashed line, 1/${classes.length} each, is T → ∞`);
  make("text", { x: NAME, y: y + ROW + 18, "text-anchor": "end", class: "kd-heading" }, svg, "entropy");
  const most = Math.log(classes.length).toFixed(2);
  make("text", { x: LOGITS.left, y: y + ROW + 18 }, svg, `0 to log ${classes.length} = ${most} nats`);
  return { rows, entropyBars: barPair(svg, y + ROW, GREEN) };
}

function moveRows(rows, logits, temperature, [p, other]) {
  const order = ranked(logits);
  const furthest = Math.max(...logits.map(Math.abs)) || 1;
  for (const { index, rank, logit, scaled, thick, thin, numbers } of rows) {
    const first = order[0] === index;
    const length = (LOGITS.width / 2) * (Math.abs(logits[index]) / furthest);
    rank.textContent = `${order.indexOf(index) + 1}${first ? " ★" : ""}`; // a sign beside the colour
    logit.setAttribute("x", LOGITS.left + LOGITS.width / 2 - (logits[index] < 0 ? length : 0));
    logit.setAttribute("width", length);
    scaled.textContent = (logits[index] / temperature).toFixed(2);
    thick.setAttribute("width", BAR.width * p[index]);
    thick.setAttribute("fill", first ? ORANGE : BLUE);
    thin.setAttribute("width", BAR.width * other[index]);
    numbers.textContent = `${(100 * p[index]).toFixed(1)} %, ${(100 * other[index]).toFixed(1)} %`;
  }
}

function render({ model, el }) {
  const { classes, examples } = model.get("content");
  let drawn;
  const move = () => {
    const { rows, entropyBars, sentence } = drawn;
    const example = examples[model.get("picture")];
    const [temperature, beside] = [model.get("temperature"), model.get("beside")];
    const [biased, bias] = [model.get("biased"), model.get("bias")];
    const logits = withBias(example.logits, biased, bias);
    const both = [temperature, beside].map((degrees) => softened(logits, degrees));
    moveRows(rows, logits, temperature, both);
    const nats = both.map(entropy);
    entropyBars.thick.setAttribute("width", (BAR.width * nats[0]) / Math.log(classes.length));
    entropyBars.thin.setAttribute("width", (BAR.width * nats[1]) / Math.log(classes.length));
    entropyBars.numbers.textContent = nats.map((value) => value.toFixed(2)).join(", ");
    sentence.textContent = describe(example.logits, classes, example.label, temperature, beside, biased, bias);
  };
  const start = () => {
    const { svg, sentence } = stage(el, WIDTH, ROW * (Math.min(MAX_ROWS, classes.length) + 3) + 4);
    drawn = { ...table(svg, examples[model.get("picture")], classes), sentence };
    move();
  };
  start();
  return endAll([follow(model, ["temperature", "beside", "biased", "bias"], move), follow(model, ["picture"], start)]);
}

export default { render };
