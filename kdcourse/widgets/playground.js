// The playground: students are trained here, by hand, a few milliseconds of every frame; the same numbers as in playground.py.

// Mulberry32: a function that gives the next number in [0, 1).
export function generator(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

// As PyTorch's linear layers begin: within 1 / √inputs of 0. Each layer's weights, an output's after another's, then its biases.
export function firstWeights(sizes, draw) {
  return sizes.slice(1).flatMap((outputs, layer) =>
    Array.from({ length: (sizes[layer] + 1) * outputs }, () => (2 * draw() - 1) / Math.sqrt(sizes[layer])));
}

// A perceptron, with room for what its layers give for a point, for the slopes of the loss with respect to that, and for
// probabilities: training and maps are to leave nothing behind that must be collected.
export function network(sizes, parameters) {
  const room = () => sizes.map((size) => new Float64Array(size));
  const shares = new Float64Array(sizes.at(-1));
  return { sizes, parameters: Float64Array.from(parameters), states: room(), slopes: room(), shares };
}

// The logits for a point; hidden units are tanh. The array is the network's own, the next point overwrites it.
export function forward({ sizes, parameters, states }, point) {
  for (let i = 0; i < point.length; i += 1) states[0][i] = point[i];
  let start = 0;
  for (let layer = 1; layer < sizes.length; layer += 1) {
    const [before, after] = [states[layer - 1], states[layer]];
    const biases = start + before.length * after.length;
    for (let j = 0; j < after.length; j += 1) {
      let sum = parameters[biases + j];
      for (let i = 0; i < before.length; i += 1) sum += parameters[start + j * before.length + i] * before[i];
      after[j] = layer === sizes.length - 1 ? sum : 1 - 2 / (Math.exp(2 * sum) + 1); // tanh, sooner than Math.tanh
    }
    start = biases + after.length;
  }
  return states[sizes.length - 1];
}

// The network's probabilities for its last point, softened; `softened` without a new array. The next call overwrites them.
export function probabilities({ states, shares }, temperature) {
  const logits = states[states.length - 1];
  let [top, sum] = [-Infinity, 0];
  for (let k = 0; k < logits.length; k += 1) top = Math.max(top, logits[k]);
  for (let k = 0; k < logits.length; k += 1) sum += shares[k] = Math.exp((logits[k] - top) / temperature);
  for (let k = 0; k < logits.length; k += 1) shares[k] /= sum;
  return shares;
}

// Adds to `gradient` what the last point brings, from the slopes of the loss with respect to its logits.
function backward({ sizes, parameters, states, slopes }, gradient) {
  let end = parameters.length;
  for (let layer = sizes.length - 1; layer > 0; layer -= 1) {
    const [before, state, after] = [slopes[layer - 1], states[layer - 1], slopes[layer]];
    const biases = end - after.length;
    const start = biases - before.length * after.length;
    before.fill(0);
    for (let j = 0; j < after.length; j += 1) {
      gradient[biases + j] += after[j];
      for (let i = 0; i < before.length; i += 1) {
        gradient[start + j * before.length + i] += after[j] * state[i];
        before[i] += after[j] * parameters[start + j * before.length + i];
      }
    }
    for (let i = 0; i < before.length; i += 1) before[i] *= 1 - state[i] * state[i]; // of tanh
    end = start;
  }
}

// A lesson, as in playground.py: points; targets with their weights, hard; the teacher's log probabilities with theirs, soft.
export function loss(net, { points, targets, hard, answers, soft, temperature }) {
  return total(points.map((point, n) => {
    const logits = [...forward(net, point)];
    const own = -total(logSoftmax(logits).map((value, k) => targets[n][k] * value));
    return hard[n] * own + soft * temperature ** 2 * kl(answers[n], logSoftmax(logits.map((z) => z / temperature)));
  }));
}

export function gradient(net, { points, targets, hard, answers, soft, temperature }) {
  const sum = new Float64Array(net.parameters.length);
  const slope = net.slopes.at(-1);
  for (let n = 0; n < points.length; n += 1) {
    forward(net, points[n]);
    let p = probabilities(net, 1);
    for (let k = 0; k < p.length; k += 1) slope[k] = hard[n] * (p[k] - targets[n][k]);
    if (soft) p = probabilities(net, temperature);
    for (let k = 0; k < p.length && soft; k += 1) slope[k] += soft * temperature * (p[k] - Math.exp(answers[n][k]));
    backward(net, sum);
  }
  return sum;
}

// A step of Adam. What it remembers is kept in `net`.
export function step(net, lesson, [rate, first, second, tiny]) {
  const slope = gradient(net, lesson);
  net.mean ??= slope.map(() => 0);
  net.square ??= slope.map(() => 0);
  net.steps = (net.steps ?? 0) + 1;
  const [whole, wholeSquare] = [1 - first ** net.steps, 1 - second ** net.steps];
  for (let i = 0; i < slope.length; i += 1) {
    net.mean[i] = first * net.mean[i] + (1 - first) * slope[i];
    net.square[i] = second * net.square[i] + (1 - second) * slope[i] * slope[i];
    net.parameters[i] -= (rate * net.mean[i]) / whole / (Math.sqrt(net.square[i] / wholeSquare) + tiny);
  }
}

// The place of the largest value; of equal ones the first.
function highest(values) {
  let place = 0;
  for (let k = 1; k < values.length; k += 1) if (values[k] > values[place]) place = k;
  return place;
}

export function accuracy(net, { points, labels }) {
  const right = points.filter((point, n) => highest(forward(net, point)) === labels[n]);
  return (100 * right.length) / points.length;
}

// One student's points, places in the pool: the first of each class in this order, which are labelled, then the others.
function chosen({ pool, classes }, order, labels) {
  const own = Array.from({ length: classes }, (_, k) => order.filter((n) => pool.labels[n] === k).slice(0, labels));
  const first = own.flat();
  return [...first, ...order.filter((n) => !first.includes(n))];
}

// What a student of one arm learns from. kind: a place in `kinds`. logits: the teacher's, of the pool.
export function lessonOf(content, kind, { temperature, alpha, labels }, places, logits) {
  const { pool, classes, smoothing } = content;
  const labelled = classes * labels;
  const own = kind === 3 ? places : places.slice(0, labelled);
  const [even, share] = [kind === 1 ? smoothing : 0, kind >= 2 ? alpha : 0];
  return {
    points: own.map((n) => pool.points[n]),
    targets: own.map((n) => Array.from({ length: classes }, (_, k) => (pool.labels[n] === k ? 1 - even : 0) + even / classes)),
    hard: own.map((_, place) => (place < labelled ? (1 - share) / labelled : 0)),
    answers: own.map((n) => logSoftmax(logits[n].map((z) => z / temperature))),
    soft: share / own.length,
    temperature,
  };
}

// Both arms at their first weights: hard labels, and the targets that the setting names.
export function start(content, setting) {
  const sizes = [2, setting.width, content.classes];
  const teacher = network(content.teacher.sizes, content.teacher.parameters);
  const logits = content.pool.points.map((point) => [...forward(teacher, point)]);
  const students = Array.from({ length: content.students }, (_, student) => {
    const draw = generator(100 * setting.seed + student);
    const places = chosen(content, ranked(content.pool.points.map(draw)), setting.labels);
    const weights = firstWeights(sizes, draw);
    return [0, setting.targets].map((kind) =>
      ({ net: network(sizes, weights), lesson: lessonOf(content, kind, setting, places, logits), places }));
  });
  const race = { content, setting, students, teacher: accuracy(teacher, content.test), taken: 0, way: [] };
  race.way.push(score(race));
  return race;
}

// Accuracies in percent: one row for each arm, one number for each student.
function score({ content, students }) {
  return [0, 1].map((arm) => students.map((pair) => accuracy(pair[arm].net, content.test)));
}

function stepAll(race) {
  const { content, students } = race;
  for (const pair of students) for (const { net, lesson } of pair) step(net, lesson, content.adam);
  race.taken += 1;
  if (race.taken % content.every === 0) race.way.push(score(race));
}

// Steps until a frame's milliseconds or its steps are used up, or training has ended; one step at least.
export function advance(race, now = () => performance.now(), budget = 8, most = 4) {
  const begun = now();
  for (let steps = 0; steps < most && race.taken < race.content.steps; steps += 1) {
    if (steps > 0 && now() - begun >= budget) break;
    stepAll(race);
  }
}

// As `difference` in intervals.py, for as many values as there are students.
export function interval(values, quantile) {
  const mean = total(values) / values.length;
  const variance = total(values.map((value) => (value - mean) ** 2)) / (values.length - 1);
  const half = quantile * Math.sqrt(variance / values.length);
  return { mean, low: mean - half, high: mean + half };
}

export function verdict({ low, high }) {
  if (high - low < 1e-9) return "the same for every seed";
  if (low > 0) return "helps";
  return high < 0 ? "hurts" : "no clear difference";
}

const gaps = ([hard, other]) => other.map((value, student) => value - hard[student]);

export function describe({ content, setting, teacher, taken, way }) {
  const { kinds, students, steps, smoothing, quantile } = content;
  const { targets, temperature, alpha, width, labels } = setting;
  const last = way.at(-1);
  const [hard, other] = last.map((values) => interval(values, quantile)).map(({ mean, high }) =>
    `${mean.toFixed(1)} % ± ${(high - mean).toFixed(1)}`);
  const gap = interval(gaps(last), quantile);
  const [points, low, high] = [gap.mean, gap.low, gap.high].map((value) => signed(value, 1));
  const soft = ` (T = ${short(temperature)}, alpha = ${short(alpha)})`;
  const own = ["", ` (${short(smoothing)})`, soft, soft][targets];
  return (
    `Step ${taken} of ${steps}, ${students} students of ${width} units, ${content.classes * labels} labels: ${kinds[targets]}${own} ${other}, ` +
    `hard labels ${hard}; ${points} points [${low}, ${high}], ${verdict(gap)}. Teacher ${teacher.toFixed(1)} %.`
  );
}

// The drawing: three maps on canvases, behind a drawing of lines, points and words that is as wide as the page.
const WIDTH = 800;
const HEIGHT = 520;
const REACH = 3; // of a map: from −3 to 3 both ways
const CELLS = 56;
const SIDE = 256;
const MAPS = { top: 44, left: [0, 272, 544] };
const WAY = { left: 40, right: 500, top: 345, bottom: 490, least: 20 };
const GAP = { left: 600, right: 790, top: 345, bottom: 490 };
const LOOKS = [{ color: COLOURS[1], dash: "6 4" }, { color: COLOURS[0], dash: "none" }]; // hard labels, the other targets
const SHAPES = ["M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0", "M-4 -4H4V4H-4Z", "M0 -5.5L5 4H-5Z"];

// A cell's class and opacity, as `decisions` in plots/regions.py: denser where surer; plain, striped or dotted.
export function tint(p, column, row) {
  const number = highest(p);
  const even = 1 / p.length;
  const marked = number === 1 ? (column + row) % 6 === 0 : number === 2 && column % 4 === 0 && row % 4 === 0;
  return [number, 0.08 + (0.42 * (p[number] - even)) / (1 - even) + (marked ? 0.25 : 0)];
}

const INKS = COLOURS.map((colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));

function paint(canvas, net) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(CELLS, CELLS);
  const middle = (place) => REACH * ((2 * place + 1) / CELLS - 1);
  for (let row = 0; row < CELLS; row += 1) {
    for (let column = 0; column < CELLS; column += 1) {
      forward(net, [middle(column), -middle(row)]);
      const [number, opacity] = tint(probabilities(net, 1), column, row);
      const at = 4 * (row * CELLS + column);
      for (let part = 0; part < 3; part += 1) image.data[at + part] = INKS[number][part];
      image.data[at + 3] = 255 * opacity;
    }
  }
  context.putImageData(image, 0, 0);
}

// The canvases lie behind the drawing, at places of its own in percent.
function drawMaps(svg, classes) {
  const frame = document.createElement("div");
  frame.style.position = "relative";
  svg.before(frame);
  svg.style.cssText = "position: relative; display: block";
  const maps = MAPS.left.map((left) => {
    const canvas = Object.assign(document.createElement("canvas"), { width: CELLS, height: CELLS, ariaHidden: "true" });
    const at = { left: left / WIDTH, top: MAPS.top / HEIGHT, width: SIDE / WIDTH, height: SIDE / HEIGHT };
    Object.assign(canvas.style, { position: "absolute", imageRendering: "pixelated" });
    for (const [name, share] of Object.entries(at)) canvas.style[name] = `${100 * share}%`;
    frame.append(canvas);
    make("rect", { x: left, y: MAPS.top, width: SIDE, height: SIDE, class: "kd-line" }, svg);
    return {
      canvas,
      left,
      name: make("text", { x: left, y: 16, class: "kd-heading" }, svg),
      right: make("text", { x: left, y: 35 }, svg),
      points: make("g", {}, svg),
    };
  });
  frame.append(svg);
  return maps;
}

function drawPoints({ left, points }, { lesson, places }, { pool, classes }, labels) {
  points.replaceChildren();
  lesson.points.forEach(([x, y], n) => {
    const at = [left + (SIDE * (x / REACH + 1)) / 2, MAPS.top + (SIDE * (1 - y / REACH)) / 2];
    const transform = `translate(${at.map((value) => value.toFixed(1)).join(" ")})`;
    const label = pool.labels[places[n]];
    if (n >= classes * labels) make("circle", { r: 1.6, transform, class: "kd-ink" }, points);
    else make("path", { d: SHAPES[label], transform, fill: COLOURS[label], stroke: "currentColor" }, points);
  });
}

const between = (share, { top, bottom }) => bottom + Math.min(1, Math.max(0, share)) * (top - bottom);

// Accuracies on their way: a mean line and a band for each arm, and the teacher's level.
function drawWay(svg, { steps, kinds }) {
  make("text", { x: WAY.left, y: 326, class: "kd-heading" }, svg, "test accuracy, %: mean and 95 % interval");
  for (const percent of [20, 40, 60, 80, 100]) {
    const y = between((percent - WAY.least) / (100 - WAY.least), WAY);
    make("line", { x1: WAY.left, x2: WAY.right, y1: y, y2: y, opacity: 0.15 }, svg);
    make("text", { x: WAY.left - 6, y: y + 4, "text-anchor": "end" }, svg, percent);
  }
  make("text", { x: WAY.left, y: 510 }, svg, "step 0");
  make("text", { x: WAY.right, y: 510, "text-anchor": "end" }, svg, steps);
  const level = make("line", { x1: WAY.left, x2: WAY.right, class: "kd-limit" }, svg);
  const arms = LOOKS.map(({ color, dash }, arm) => {
    const y = 432 + 22 * arm;
    make("path", { d: `M210 ${y - 4}h34`, stroke: color, "stroke-width": 2.5, "stroke-dasharray": dash }, svg);
    return {
      name: make("text", { x: 252, y }, svg, kinds[0]),
      band: make("path", { fill: color, "fill-opacity": 0.18 }, svg),
      line: make("path", { fill: "none", stroke: color, "stroke-width": 2.5, "stroke-dasharray": dash }, svg),
    };
  });
  make("line", { x1: 210, x2: 244, y1: 472, y2: 472, class: "kd-limit" }, svg);
  make("text", { x: 252, y: 476 }, svg, "teacher");
  const now = make("text", { x: (WAY.left + WAY.right) / 2, y: 510, "text-anchor": "middle" }, svg);
  return { level, arms, now };
}

function setWay({ level, arms }, { content, way, teacher }) {
  const height = (percent) => between((percent - WAY.least) / (100 - WAY.least), WAY);
  const x = (place) => WAY.left + ((WAY.right - WAY.left) * place * content.every) / content.steps;
  for (const end of ["y1", "y2"]) level.setAttribute(end, height(teacher));
  arms.forEach(({ line, band }, arm) => {
    const found = way.map((both) => interval(both[arm], content.quantile));
    const [means, lows, highs] = ["mean", "low", "high"].map((name) => found.map((one, n) => [x(n), height(one[name])]));
    line.setAttribute("d", through(means));
    band.setAttribute("d", `${through([...highs, ...lows.reverse()])}Z`);
  });
}

// The paired difference: hollow dots for the students, the mean with its interval, and the verdict in a word.
function drawGap(svg) {
  make("text", { x: GAP.left - 40, y: 326, class: "kd-heading" }, svg, "difference of each pair, points");
  const zero = make("line", { x1: GAP.left, x2: GAP.right }, svg);
  const ticks = [0, 1, 2].map(() => make("text", { x: GAP.left - 6, "text-anchor": "end" }, svg));
  return { zero, ticks, marks: make("g", {}, svg), said: make("text", { x: GAP.left - 40, y: 510, class: "kd-heading" }, svg) };
}

const MARKS = { helps: "M0 -7L7 6H-7Z", hurts: "M0 7L7 -6H-7Z" }; // and a circle where there is no clear difference

function setGap({ zero, ticks, marks, said }, { content, way }) {
  const values = gaps(way.at(-1));
  const found = interval(values, content.quantile);
  const word = verdict(found);
  const far = Math.max(...[found.low, found.high, ...values].map(Math.abs));
  const reach = [5, 10, 20, 40, 80, 160].find((one) => one >= far) ?? 320;
  const y = (value) => between((value / reach + 1) / 2, GAP);
  for (const end of ["y1", "y2"]) zero.setAttribute(end, y(0));
  [reach, 0, -reach].forEach((value, n) => {
    ticks[n].setAttribute("y", y(value) + 4);
    ticks[n].textContent = value ? signed(value, 0) : "0";
  });
  marks.replaceChildren();
  values.forEach((value, n) => make("circle", { cx: GAP.left + 20 + 14 * n, cy: y(value), r: 4, class: "kd-line" }, marks));
  const x = GAP.left + 140;
  make("line", { x1: x, x2: x, y1: y(found.low), y2: y(found.high), "stroke-width": 2.5 }, marks);
  const shape = { d: MARKS[word] ?? "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0 -12 0", transform: `translate(${x} ${y(found.mean)})` };
  const color = { helps: COLOURS[0], hurts: COLOURS[1] }[word] ?? "currentColor";
  make("path", { ...shape, fill: color, stroke: "currentColor" }, marks);
  said.textContent = `${signed(found.mean, 1)}, ${word}`;
}

// Everything that a new race changes at once.
function present({ maps, way }, race) {
  const { content, setting, students } = race;
  const [hard, other] = students[0];
  ["teacher", content.kinds[0], content.kinds[setting.targets]].forEach((name, n) => {
    maps[n].name.textContent = name;
    drawPoints(maps[n], [hard, hard, other][n], content, setting.labels);
  });
  maps[0].right.textContent = `${race.teacher.toFixed(1)} % right`;
  way.arms[1].name.textContent = content.kinds[setting.targets];
}

// What moves with the steps. only: the arm whose map is painted, both where nothing is said.
function move({ maps, way, gap }, race, only) {
  const [pair, last] = [race.students[0], race.way.at(-1)];
  pair.forEach(({ net }, arm) => {
    if (only === undefined || only === arm) paint(maps[arm + 1].canvas, net);
    maps[arm + 1].right.textContent = `the first student: ${last[arm][0].toFixed(1)} % right`;
  });
  setWay(way, race);
  setGap(gap, race);
}

const NAMES = ["targets", "temperature", "alpha", "labels", "width", "seed"];
const PAUSE = 2000; // milliseconds from sentence to sentence while students train

function render({ model, el }) {
  const content = model.get("content");
  const { svg, sentence } = stage(el, WIDTH, HEIGHT);
  const drawn = { maps: drawMaps(svg, content.classes), way: drawWay(svg, content), gap: drawGap(svg) };
  paint(drawn.maps[0].canvas, network(content.teacher.sizes, content.teacher.parameters));
  // Whoever asks for less motion trains on demand, and sees the end and not the way.
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (still) choose(model, { train: false });
  let [race, frame, said] = [null, 0, 0];
  const ended = () => race.taken === content.steps;
  const say = () => {
    said = performance.now();
    sentence.textContent = describe(race);
    drawn.way.now.textContent = model.get("train") ? "" : `paused at ${race.taken}`;
  };
  const tick = () => {
    advance(race, undefined, 8, still ? Infinity : 4);
    // One map in a frame: both would take the time of a frame.
    if (!still || ended()) move(drawn, race, ended() ? undefined : Math.floor(race.taken / 4) % 2);
    if (ended() || (!still && performance.now() - said > PAUSE)) say();
    frame = ended() ? 0 : requestAnimationFrame(tick);
  };
  const stop = () => cancelAnimationFrame(frame);
  const restart = () => {
    stop();
    race = start(content, Object.fromEntries(NAMES.map((name) => [name, model.get(name)])));
    present(drawn, race);
    move(drawn, race);
    say();
    if (model.get("train")) frame = requestAnimationFrame(tick);
  };
  const toggle = () => {
    stop();
    say();
    if (model.get("train") && ended()) restart();
    else if (model.get("train")) frame = requestAnimationFrame(tick);
  };
  restart();
  return endAll([follow(model, NAMES, restart), follow(model, ["train"], toggle), stop]);
}

export default { render };
