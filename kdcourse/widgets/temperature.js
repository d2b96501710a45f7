// The temperature explorer's picture. All arithmetic is done here, where the slider is, so it answers within a frame.

export function softened(logits, temperature) {
  const scaled = logits.map((logit) => logit / temperature);
  const top = Math.max(...scaled); // subtracted so that exp cannot overflow
  const powers = scaled.map((value) => Math.exp(value - top));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

export function entropy(probabilities) {
  return -probabilities.reduce((sum, p) => sum + (p > 0 ? p * Math.log(p) : 0), 0);
}

export function describe(logits, temperature, classes, label) {
  const p = softened(logits, temperature);
  const order = classes.map((_, index) => index).sort((a, b) => logits[b] - logits[a]);
  const named = order.slice(0, 3).map((index) => `${classes[index]} ${(100 * p[index]).toFixed(1)} %`);
  const nats = entropy(p).toFixed(2);
  const most = Math.log(classes.length).toFixed(2);
  const degree = Number(temperature.toPrecision(3));
  return `${classes[label]} at T = ${degree}: ${named.join(", ")}; entropy ${nats} of at most ${most} nats.`;
}

const SVG = "http://www.w3.org/2000/svg";
const BLUE = "#0072B2"; // Okabe and Ito: safe for colour-blind readers
const ROW = 24;
const NAME = 110;
const BAR = 250;

function make(tag, attributes, parent, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
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
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${NAME + BAR + 190} ${ROW * (classes.length + 1)}`);
  svg.setAttribute("role", "img");
  const sentence = document.createElement("p");
  sentence.setAttribute("aria-live", "polite");
  const heading = { y: 16, class: "kd-heading" };
  make("text", { ...heading, x: NAME - 8, "text-anchor": "end" }, svg, "class");
  make("text", { ...heading, x: NAME }, svg, "probability");
  make("text", { ...heading, x: NAME + BAR + 180, "text-anchor": "end" }, svg, "logit / T");
  const top = Math.max(...example.logits);
  const rows = classes.map((name, index) => {
    const y = ROW * (index + 1);
    const star = example.logits[index] === top ? " ★" : ""; // a sign beside the colour
    make("text", { x: NAME - 8, y: y + 16, "text-anchor": "end" }, svg, name + star);
    make("rect", { x: NAME, y: y + 3, width: BAR, height: ROW - 7, class: "kd-track" }, svg);
    return {
      bar: make("rect", { x: NAME, y: y + 3, height: ROW - 7, fill: BLUE }, svg),
      percent: make("text", { x: NAME + BAR + 8, y: y + 16 }, svg),
      logit: make("text", { x: NAME + BAR + 180, y: y + 16, "text-anchor": "end" }, svg),
    };
  });
  el.append(image, svg, sentence);
  return { example, classes, rows, svg, sentence };
}

function render({ model, el }) {
  let drawn;
  const move = () => {
    const { example, classes, rows, svg, sentence } = drawn;
    const temperature = model.get("temperature");
    const p = softened(example.logits, temperature);
    rows.forEach(({ bar, percent, logit }, index) => {
      bar.setAttribute("width", BAR * p[index]);
      percent.textContent = `${(100 * p[index]).toFixed(1)} %`;
      logit.textContent = (example.logits[index] / temperature).toFixed(2);
    });
    sentence.textContent = describe(example.logits, temperature, classes, example.label);
    svg.setAttribute("aria-label", sentence.textContent);
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
