// The temperature explorer's picture. All arithmetic is done here, where the slider is, so it answers within a frame.

export function softened(logits, temperature) {
  const scaled = logits.map((logit) => logit / temperature);
  const top = Math.max(...scaled); // subtracted so that exp cannot overflow
  const powers = scaled.map((value) => Math.exp(value - top));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

export function entropy(probabilities) {
  return Math.abs(probabilities.reduce((sum, p) => sum + (p > 0 ? p * Math.log(p) : 0), 0));
}

// Class numbers from the largest logit to the smallest. The order is the same at every temperature.
export function ranked(logits) {
  return logits.map((_, index) => index).sort((a, b) => logits[b] - logits[a]);
}

export function describe(logits, temperature, classes, label) {
  const p = softened(logits, temperature);
  const named = ranked(logits).slice(0, 3).map((index) => `${classes[index]} ${(100 * p[index]).toFixed(1)} %`);
  const nats = entropy(p).toFixed(2);
  const most = Math.log(classes.length).toFixed(2);
  const degree = Number(temperature.toPrecision(3));
  return `${classes[label]} at T = ${degree}: ${named.join(", ")}; entropy ${nats} of at most ${most} nats.`;
}

const SVG = "http://www.w3.org/2000/svg";
const BLUE = "#0072B2"; // Okabe and Ito: safe for colour-blind readers
const ORANGE = "#D55E00";
const MOST = 20; // rows that fit a screen; of more classes the likeliest are shown
const ROW = 24;
const NAME = 150; // right edge of the class names
const LOGITS = { left: 160, width: 150 };
const SCALED = 375; // right edge of the numbers z / T
const BAR = { left: 390, width: 220 };
const WIDTH = 680;

function make(tag, attributes, parent, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

function headings(svg) {
  const heading = { y: 16, class: "kd-heading" };
  make("text", { ...heading, x: 0 }, svg, "rank");
  make("text", { ...heading, x: NAME, "text-anchor": "end" }, svg, "class");
  make("text", { ...heading, x: LOGITS.left }, svg, "logit z");
  make("text", { ...heading, x: SCALED, "text-anchor": "end" }, svg, "z / T");
  make("text", { ...heading, x: BAR.left }, svg, "probability");
}

// One class: its rank, name and logit stand still; the bar and the two numbers returned here move.
function row(svg, y, name, rank, logit, furthest) {
  const text = { y: y + 16 };
  const bar = { y: y + 3, height: ROW - 7 };
  make("text", { ...text, x: 0 }, svg, rank === 1 ? "1 ★" : `${rank}`); // a sign beside the colour
  make("text", { ...text, x: NAME, "text-anchor": "end" }, svg, name);
  const middle = LOGITS.left + LOGITS.width / 2;
  const length = (LOGITS.width / 2) * (Math.abs(logit) / furthest);
  make("rect", { ...bar, x: logit < 0 ? middle - length : middle, width: length, class: "kd-logit" }, svg);
  make("line", { x1: middle, x2: middle, y1: y, y2: y + ROW }, svg);
  make("rect", { ...bar, x: BAR.left, width: BAR.width, class: "kd-track" }, svg);
  return {
    scaled: make("text", { ...text, x: SCALED, "text-anchor": "end" }, svg),
    bar: make("rect", { ...bar, x: BAR.left, width: 0, fill: rank === 1 ? ORANGE : BLUE }, svg),
    percent: make("text", { ...text, x: BAR.left + BAR.width + 8 }, svg),
  };
}

// The entropy between its two limits: 0 where one class has all, log C where all are equal.
function gauge(svg, y, classes) {
  const even = BAR.left + BAR.width / classes.length;
  make("line", { x1: even, x2: even, y1: ROW, y2: y, class: "kd-limit" }, svg);
  make("text", { x: 0, y: y + 18 }, svg, `★ takes all as T → 0; the dashed line, 1/${classes.length} each, is T → ∞`);
  y += ROW;
  make("text", { x: NAME, y: y + 18, "text-anchor": "end", class: "kd-heading" }, svg, "entropy");
  make("text", { x: LOGITS.left, y: y + 18 }, svg, `0 to log ${classes.length} = ${Math.log(classes.length).toFixed(2)} nats`);
  make("rect", { x: BAR.left, y: y + 5, width: BAR.width, height: ROW - 7, class: "kd-track" }, svg);
  return {
    bar: make("rect", { x: BAR.left, y: y + 5, width: 0, height: ROW - 7, fill: "#009E73" }, svg),
    nats: make("text", { x: BAR.left + BAR.width + 8, y: y + 18 }, svg),
  };
}

// Everything that does not move is drawn once for a picture; a change of temperature moves bars and numbers only.
function stage(model, el) {
  const example = model.get("examples")[model.get("picture")];
  const classes = model.get("classes");
  el.replaceChildren();
  el.classList.add("kd-temperature");
  const image = document.createElement("img");
  image.src = example.picture;
  image.alt = `A picture labelled ${classes[example.label]}`;
  const order = ranked(example.logits);
  const shown = order.slice(0, MOST).sort((a, b) => a - b);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${ROW * (shown.length + 3) + 4}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "Bars of logits and probabilities; the sentence below says the numbers.");
  headings(svg);
  const furthest = Math.max(...example.logits.map(Math.abs)) || 1;
  const rows = shown.map((index, place) => {
    const parts = row(svg, ROW * (place + 1), classes[index], order.indexOf(index) + 1, example.logits[index], furthest);
    return { index, ...parts };
  });
  const disorder = gauge(svg, ROW * (shown.length + 1), classes);
  const sentence = document.createElement("p");
  sentence.setAttribute("aria-live", "polite");
  el.append(image, svg, sentence);
  return { example, classes, rows, disorder, sentence };
}

function render({ model, el }) {
  let drawn;
  const move = () => {
    const { example, classes, rows, disorder, sentence } = drawn;
    const temperature = model.get("temperature");
    const p = softened(example.logits, temperature);
    for (const { index, bar, percent, scaled } of rows) {
      bar.setAttribute("width", BAR.width * p[index]);
      percent.textContent = `${(100 * p[index]).toFixed(1)} %`;
      scaled.textContent = (example.logits[index] / temperature).toFixed(2);
    }
    disorder.bar.setAttribute("width", (BAR.width * entropy(p)) / Math.log(classes.length));
    disorder.nats.textContent = entropy(p).toFixed(2);
    sentence.textContent = describe(example.logits, temperature, classes, example.label);
  };
  const start = () => {
    drawn = stage(model, el);
    move();
  };
  start();
  model.on("change:temperature", move);
  model.on("change:picture", start);
  return () => {
    model.off("change:temperature", move);
    model.off("change:picture", start);
  };
}

export default { render };
