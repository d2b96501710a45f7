// What several live views need. This file is put before each view's own script, see views.py.

const SVG = "http://www.w3.org/2000/svg";
// Okabe and Ito's colours, safe for colour-blind readers; the order is that of palette.py.
export const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];

export function make(tag, attributes, parent, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

// An empty drawing, and below it the sentence that says in words what it shows: screen readers read it when it changes.
export function stage(el, width, height) {
  el.replaceChildren();
  el.classList.add("kd-view", "tex2jax_ignore", "mathjax_ignore"); // a name may hold a $, and begins no formula
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "The sentence below says what this drawing shows.");
  const sentence = document.createElement("p");
  sentence.setAttribute("aria-live", "polite");
  el.append(svg, sentence);
  return { svg, sentence };
}

// Call `draw` whenever one of the named values changes, until the view goes away.
export function follow(model, names, draw) {
  const events = names.map((name) => `change:${name}`);
  for (const event of events) model.on(event, draw);
  return () => events.forEach((event) => model.off(event, draw));
}

// Ends several things at once: what `follow` returns, and the like.
export function endAll(ends) {
  return () => ends.forEach((end) => end());
}

// Where in the drawing a pointer's event happened.
export function pointerPosition(svg, { clientX, clientY }) {
  const { x, y } = new DOMPoint(clientX, clientY).matrixTransform(svg.getScreenCTM().inverse());
  return [x, y];
}

export function total(values) {
  return values.reduce((sum, value) => sum + value, 0);
}

export function softened(logits, temperature) {
  const scaled = logits.map((logit) => logit / temperature);
  const top = Math.max(...scaled); // subtracted so that exp cannot overflow
  const powers = scaled.map((value) => Math.exp(value - top));
  const sum = total(powers);
  return powers.map((power) => power / sum);
}

export function entropy(probabilities) {
  return Math.abs(total(probabilities.map((p) => (p > 0 ? p * Math.log(p) : 0))));
}

// Class numbers from the largest value to the smallest; of equal ones the first stays first.
export function ranked(values) {
  return values.map((_, index) => index).sort((a, b) => values[b] - values[a]);
}

// A number with three digits at most, as `short` in wording.py.
export function short(value) {
  return `${Number(value.toPrecision(3))}`;
}

// As in arithmetic.py: logarithms stay finite where probabilities underflow.
export function logSoftmax(values) {
  const top = Math.max(...values);
  const sum = total(values.map((value) => Math.exp(value - top)));
  return values.map((value) => value - top - Math.log(sum));
}

// KL(p ‖ q) in nats; never negative but for rounding, which would show as -0.00.
export function kl(logP, logQ) {
  return Math.max(0, total(logP.map((value, index) => Math.exp(value) * (value - logQ[index]))));
}

// The "d" of a path through points [x, y] of the drawing.
export function through(points) {
  return "M" + points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");
}

// As `signed` in wording.py.
export function signed(value, places) {
  return `${value >= 0 ? "+" : "−"}${Math.abs(value).toFixed(places)}`;
}

// As `clipped` in wording.py, which counts characters where JavaScript's length counts half of an emoji.
export function clipped(text, most) {
  const characters = [...text];
  return characters.length > most ? `${characters.slice(0, most - 1).join("")}…` : text;
}

// Set controls from the view, as a click does: their links carry it to the sliders and on to the kernel.
export function choose(model, values) {
  for (const [name, value] of Object.entries(values)) model.set(name, value);
  model.save_changes();
}
