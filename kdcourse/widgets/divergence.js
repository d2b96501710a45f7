// The divergence playground's drawing: the present student's divergence is computed here, at every move.

// As kdcourse.losses.generalized_jsd, for one student and one teacher.
export function generalizedJsd(logStudent, logTeacher, beta) {
  if (beta === 0) return kl(logTeacher, logStudent);
  if (beta === 1) return kl(logStudent, logTeacher);
  const logMixture = logTeacher.map((value, index) => {
    const [one, other] = [value + Math.log(beta), logStudent[index] + Math.log1p(-beta)];
    return Math.max(one, other) + Math.log1p(Math.exp(-Math.abs(one - other)));
  });
  return beta * kl(logTeacher, logMixture) + (1 - beta) * kl(logStudent, logMixture);
}

export function logGaussian(line, center, width) {
  return logSoftmax(line.map((x) => -0.5 * ((x - center) / width) ** 2));
}

export function probabilityBetween({ line, gap: [low, high] }, logProbabilities) {
  return total(logProbabilities.map((value, index) => (low < line[index] && line[index] < high ? Math.exp(value) : 0)));
}

// What the controls ask for. The grid's best student stands in content, one for each beta.
export function student(content, place, best, center, width) {
  const { line, teacher, betas } = content;
  const beta = betas[place];
  const least = generalizedJsd(logGaussian(line, ...content.best[place]), teacher, beta);
  const [at, wide] = best ? content.best[place] : [center, width];
  const log = logGaussian(line, at, wide);
  return { beta, least, best, center: at, width: wide, log, nats: generalizedJsd(log, teacher, beta) };
}

export function describe(content, { beta, least, best, center, width, log, nats }) {
  const name = best ? "The best student" : "A student";
  const against = best ? "" : ` (best ${least.toFixed(3)})`;
  const [ours, theirs] = [log, content.teacher].map((one) => (100 * probabilityBetween(content, one)).toFixed(1));
  return `${name} at beta = ${short(beta)}: center ${short(center)}, width ${short(width)}, ${nats.toFixed(3)} nats from the `
    + `teacher${against}. It puts ${ours} % of its probability between the peaks, the teacher ${theirs} %.`;
}

const [BLUE, ORANGE] = COLOURS;
const WIDTH = 720;
const LEFT = 60;
const RIGHT = WIDTH - 20;
const SHAPES = { top: 44, bottom: 234, most: 1.02 }; // in units of density: the narrowest student reaches 1.0
const LOSSES = { top: 296, bottom: 376 };
const CENTERS = Array.from({ length: 81 }, (_, index) => (index - 40) / 10); // of the lower drawing

const across = (x) => LEFT + ((x + 5) / 10) * (RIGHT - LEFT);
const height = ({ top, bottom }, share) => bottom - share * (bottom - top);

function axis(svg, { top, bottom }, name) {
  make("line", { x1: LEFT, x2: RIGHT, y1: bottom, y2: bottom }, svg);
  make("line", { x1: LEFT, x2: LEFT, y1: top, y2: bottom }, svg);
  make("text", { x: LEFT, y: top - 10, class: "kd-heading" }, svg, name);
}

function tick(svg, y) {
  make("line", { x1: LEFT - 5, x2: LEFT, y1: y, y2: y }, svg);
  return make("text", { x: LEFT - 8, y: y + 4, "text-anchor": "end" }, svg);
}

// A drawing within the drawing, which cuts off what leaves it.
function clippedPane(svg, { top, bottom }) {
  const [width, height] = [RIGHT - LEFT, bottom - top];
  const viewBox = `${LEFT} ${top} ${width} ${height}`;
  return make("svg", { x: LEFT, y: top, width, height, viewBox, style: `width: ${width}px` }, svg);
}

function legend(svg) {
  for (const [x, name, stroke, dash] of [[380, "teacher", BLUE, "none"], [480, "student", ORANGE, "7 4"]]) {
    make("path", { d: `M${x} 29h34`, stroke, "stroke-width": 3, "stroke-dasharray": dash }, svg);
    make("text", { x: x + 42, y: 34 }, svg, name);
  }
}

// Everything that does not move: axes, names, the teacher, the place between the peaks.
function drawScene(svg, { line, gap, teacher }) {
  const [low, high] = gap.map(across);
  make("rect", { x: low, width: high - low, y: SHAPES.top, height: SHAPES.bottom - SHAPES.top, class: "kd-track" }, svg);
  make("text", { x: (low + high) / 2, y: SHAPES.top + 16, "text-anchor": "middle" }, svg, "between the peaks");
  axis(svg, SHAPES, "density of what is said");
  axis(svg, LOSSES, "loss of a student of this width, by its center");
  legend(svg);
  for (const x of [-4, -2, 0, 2, 4]) {
    make("text", { x: across(x), y: SHAPES.bottom + 18, "text-anchor": "middle" }, svg, `${x}`);
    make("text", { x: across(x), y: LOSSES.bottom + 18, "text-anchor": "middle" }, svg, `${x}`);
  }
  for (const value of [0, 0.5, 1]) tick(svg, height(SHAPES, value / SHAPES.most)).textContent = value.toFixed(1);
  tick(svg, LOSSES.bottom).textContent = "0";
  setDensity(make("path", { fill: BLUE, "fill-opacity": 0.2, stroke: BLUE, "stroke-width": 2.5 }, svg), line, teacher);
  return {
    student: make("path", { fill: "none", stroke: ORANGE, "stroke-width": 3, "stroke-dasharray": "7 4" }, svg),
    most: tick(svg, LOSSES.top),
    losses: make("path", { class: "kd-line", "stroke-width": 2 }, clippedPane(svg, LOSSES)),
    here: make("circle", { r: 6, fill: ORANGE }, svg),
    nats: make("text", { x: RIGHT, y: LOSSES.top - 10, "text-anchor": "end" }, svg),
  };
}

function setDensity(path, line, log) {
  const step = line[1] - line[0];
  const y = (value) => height(SHAPES, Math.exp(value) / step / SHAPES.most);
  path.setAttribute("d", through(line.map((x, index) => [across(x), y(log[index])])));
}

// The lower drawing: what the loss would be if the bump stood elsewhere. Steep walls are cut off at the top.
function moveLossCurve({ losses, here, most, nats }, { line, teacher }, now) {
  const values = CENTERS.map((center) => generalizedJsd(logGaussian(line, center, now.width), teacher, now.beta));
  const top = Math.max(1e-6, Math.min(Math.max(...values), 8 * Math.min(...values)));
  const y = (value) => height(LOSSES, value / top);
  losses.setAttribute("d", through(CENTERS.map((center, index) => [across(center), y(values[index])])));
  here.setAttribute("cx", across(now.center));
  here.setAttribute("cy", y(Math.min(now.nats, top)));
  most.textContent = short(top);
  nats.textContent = `now ${now.nats.toFixed(3)} nats, best ${now.least.toFixed(3)}`;
}

function render({ model, el }) {
  const content = model.get("content");
  const { svg, sentence } = stage(el, WIDTH, LOSSES.bottom + 26);
  const drawn = drawScene(svg, content);
  const move = () => {
    const [place, best, center, width] = ["beta", "best", "center", "width"].map((name) => model.get(name));
    const now = student(content, place, best, center, width);
    setDensity(drawn.student, content.line, now.log);
    moveLossCurve(drawn, content, now);
    sentence.textContent = describe(content, now);
    // The sliders show where the best student stands, so that a hand begins there.
    if (best && (center !== now.center || width !== now.width)) choose(model, { center: now.center, width: now.width });
  };
  move();
  return follow(model, ["beta", "best", "center", "width"], move);
}

export default { render };
