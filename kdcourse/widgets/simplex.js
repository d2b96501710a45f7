// The loss landscape's drawing: losses, pulls, shading and the way down are computed here, at every move.

export function losses(student, teacher, label, temperature, alpha) {
  const [logP, logQ] = [teacher, student].map((logits) => logSoftmax(logits.map((z) => z / temperature)));
  const soft = temperature ** 2 * kl(logP, logQ);
  const hard = -logSoftmax(student)[label];
  return [hard, soft, alpha * soft + (1 - alpha) * hard];
}

// With respect to the student's logits, of the hard, the soft and the mixed loss.
export function gradients(student, teacher, label, temperature, alpha) {
  const [q, p] = [softened(student, temperature), softened(teacher, temperature)];
  const hard = softened(student, 1).map((value, index) => value - (index === label ? 1 : 0));
  const soft = q.map((value, index) => temperature * (value - p[index]));
  return [hard, soft, soft.map((value, index) => alpha * value + (1 - alpha) * hard[index])];
}

// Where the probabilities go when the logits go against the gradient.
export function pull(student, gradient) {
  const p = softened(student, 1);
  const mean = total(gradient.map((value, index) => value * p[index]));
  return gradient.map((value, index) => -p[index] * (value - mean));
}

// The pulls of several gradients on one scale: the longest a quarter of a side, none beyond the triangle.
export function arrows(student, slopes) {
  const p = softened(student, 1);
  const moves = slopes.map((slope) => pull(student, slope));
  const longest = Math.max(...moves.map((move) => Math.hypot(...move))) / Math.SQRT2;
  const soonest = Math.max(...moves.flatMap((move) => move.map((value, index) => -value / p[index])));
  const scale = 1 / Math.max(4 * longest, soonest, 1e-6);
  return moves.map((move) => move.map((value) => scale * value));
}

const STEPS = 200; // of gradient descent, at a learning rate of 1

export function gradientDescent(student, ...setting) {
  const path = [student];
  for (let step = 0; step < STEPS; step += 1) {
    const last = path[step];
    const slope = gradients(last, ...setting)[2];
    path.push(last.map((z, index) => z - slope[index]));
  }
  return path;
}

const NAMES = ["hard", "soft", "mix"];
const shares = (p, classes) => p.map((value, index) => `${classes[index]} ${(100 * value).toFixed(0)} %`).join(", ");

export function describe(student, teacher, classes, label, temperature, alpha) {
  const setting = [teacher, label, temperature, alpha];
  const named = losses(student, ...setting).map((value, index) => `${NAMES[index]} ${value.toFixed(2)}`).join(", ");
  const end = gradientDescent(student, ...setting)[STEPS];
  const [here, there] = [student, end].map((logits) => shares(softened(logits, 1), classes));
  const settings = `T = ${short(temperature)}, alpha = ${short(alpha)}`;
  return `The student says ${here}. At ${settings} its loss in nats is ${named}; descent leads to ${there}.`;
}

// Points of the drawing and probabilities: the first class at the lower left, the second at the lower right.
const SIDE = 400;
const HEIGHT = (SIDE * Math.sqrt(3)) / 2;
const CORNERS = [[20, 34 + HEIGHT], [20 + SIDE, 34 + HEIGHT], [20 + SIDE / 2, 34]];
const WIDTH = 720;

export function place(p) {
  return [0, 1].map((axis) => total(p.map((value, index) => value * CORNERS[index][axis])));
}

// The student's logits for a point of the drawing, the third being 0; outside of the triangle its nearest edge holds.
export function logitsAt([x, y], reach) {
  const top = (CORNERS[0][1] - y) / HEIGHT;
  const right = (x - CORNERS[0][0]) / SIDE - top / 2;
  const [first, second, third] = [1 - top - right, right, top].map((p) => Math.max(p, 1e-4));
  return [first, second].map((p) => {
    const logit = Math.min(reach, Math.max(-reach, Math.log(p / third)));
    return Math.round(20 * logit) / 20; // the sliders' steps
  });
}

const ROWS = 60;
const BANDS = 8;
const LOOKS = {
  mix: { color: "currentColor", dash: "none", width: 6 },
  hard: { color: COLOURS[1], dash: "none", width: 3 },
  soft: { color: COLOURS[2], dash: "6 4", width: 3 },
};

// Small triangles, each with the logits of its middle.
function smallTriangles(svg) {
  const cells = [];
  const at = (i, j) => place([i / ROWS, j / ROWS, 1 - (i + j) / ROWS]);
  const cell = (corners, i, j) => {
    const points = corners.map((corner) => at(...corner).map((value) => value.toFixed(1)).join(",")).join(" ");
    const middle = [i / ROWS, j / ROWS, 1 - (i + j) / ROWS];
    const node = make("polygon", { points, fill: COLOURS[0], "shape-rendering": "crispEdges" }, svg);
    cells.push({ node, logits: middle.map(Math.log) });
  };
  for (let i = 0; i < ROWS; i += 1) {
    for (let j = 0; i + j < ROWS; j += 1) {
      cell([[i, j], [i + 1, j], [i, j + 1]], i + 1 / 3, j + 1 / 3);
      if (i + j < ROWS - 1) cell([[i + 1, j], [i, j + 1], [i + 1, j + 1]], i + 2 / 3, j + 2 / 3);
    }
  }
  return cells;
}

// Each band is twice as far above the lowest loss as the one inside it.
function shade(cells, setting) {
  const values = cells.map(({ logits }) => losses(logits, ...setting)[2]);
  const least = Math.min(...values);
  cells.forEach((cell, index) => {
    const band = Math.min(BANDS - 1, Math.max(0, Math.ceil(Math.log2((values[index] - least) / 0.05))));
    if (band !== cell.band) cell.node.setAttribute("fill-opacity", 0.07 * band);
    cell.band = band;
  });
}

function arrow(svg, { color, dash, width }) {
  const look = { stroke: color, "stroke-width": width, fill: "none", "stroke-linecap": "round", "pointer-events": "none" };
  const [shaft, head] = [make("path", { ...look, "stroke-dasharray": dash }, svg), make("path", look, svg)];
  return ([x, y], [dx, dy]) => {
    const length = Math.hypot(dx, dy);
    const tip = [x + dx, y + dy];
    const wings = [2.6, -2.6].map((turn) => {
      const angle = Math.atan2(dy, dx) + turn;
      return [tip[0] + 10 * Math.cos(angle), tip[1] + 10 * Math.sin(angle)];
    });
    shaft.setAttribute("d", through([[x, y], tip]));
    head.setAttribute("d", length > 4 ? through([wings[0], tip, wings[1]]) : "");
  };
}

const MARKS = {
  student: "M-7 0a7 7 0 1 0 14 0a7 7 0 1 0 -14 0",
  teacher: "M0 -9L8 6H-8Z",
  label: "M-6 -6H6V6H-6Z",
};

// Filled: an answer as it is. Hollow: softened by the temperature.
function mark(svg, shape, hollow = false) {
  const look = { d: MARKS[shape], class: "kd-line", "stroke-width": 2.5, "pointer-events": "none" };
  const node = make("path", look, svg);
  if (!hollow) node.setAttribute("style", "fill: currentColor");
  return ([x, y]) => node.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
}

const PANEL = 465;

// The table of losses with each arrow's look, and what the marks are.
function panel(svg, fixedClass) {
  make("text", { x: PANEL + 70, y: 60, class: "kd-heading" }, svg, "loss");
  make("text", { x: PANEL + 200, y: 60, class: "kd-heading", "text-anchor": "end" }, svg, "nats");
  const numbers = NAMES.map((name, index) => {
    const y = 88 + 28 * index;
    arrow(svg, LOOKS[name])([PANEL, y - 5], [50, 0]);
    make("text", { x: PANEL + 70, y }, svg, name);
    return make("text", { x: PANEL + 200, y, "text-anchor": "end" }, svg);
  });
  const rows = [["label", "label"], ["teacher", "teacher; hollow: softened by T"], ["student", "student; hollow: softened by T"]];
  rows.forEach(([shape, text], index) => {
    const y = 196 + 30 * index;
    mark(svg, shape)([PANEL + 10, y - 5]);
    if (shape !== "label") mark(svg, shape, true)([PANEL + 36, y - 5]);
    make("text", { x: PANEL + 60, y }, svg, text);
  });
  make("path", { d: `M${PANEL} 281h50`, class: "kd-line", "stroke-width": 2, "stroke-dasharray": "2 4" }, svg);
  make("text", { x: PANEL + 60, y: 286 }, svg, "gradient descent on the mix");
  [1, 3, 5, 7].forEach((band, index) => {
    const tint = { fill: COLOURS[0], "fill-opacity": 0.07 * band };
    make("rect", { x: PANEL + 13 * index, y: 304, width: 13, height: 14, ...tint }, svg);
  });
  make("text", { x: PANEL + 60, y: 316 }, svg, "bluer: the mix is higher");
  make("text", { x: PANEL, y: 356 }, svg, "Drag the student, or use the sliders.");
  make("text", { x: PANEL, y: 378 }, svg, `The logit of ${fixedClass} stays 0.`);
  return numbers;
}

function drawScene(svg, { classes, label }) {
  const field = make("g", { style: "touch-action: none; cursor: crosshair" }, svg);
  const cells = smallTriangles(field);
  make("polygon", { points: CORNERS.join(" "), class: "kd-line", "pointer-events": "none" }, svg);
  classes.forEach((name, index) => {
    const [x, y] = CORNERS[index];
    const anchor = { x: index === 2 ? x : x + (index ? 16 : -16), y: y + (index === 2 ? -16 : 26) };
    const text = index === label ? `${name} (label)` : name;
    make("text", { ...anchor, "text-anchor": ["start", "end", "middle"][index], class: "kd-heading" }, svg, text);
  });
  mark(svg, "label")(CORNERS[label]);
  return {
    field,
    cells,
    path: make("path", { class: "kd-line", "stroke-width": 2, "stroke-dasharray": "2 4", "pointer-events": "none" }, svg),
    soft: { teacher: mark(svg, "teacher", true), student: mark(svg, "student", true) },
    arrows: Object.fromEntries(Object.entries(LOOKS).map(([name, look]) => [name, arrow(svg, look)])),
    teacher: mark(svg, "teacher"),
    student: mark(svg, "student"),
    numbers: panel(svg, classes[2]),
  };
}

function moveArrows(drawn, student, slopes) {
  const start = place(softened(student, 1));
  arrows(student, slopes).forEach((move, index) => drawn.arrows[NAMES[index]](start, place(move)));
}

// A hand in the triangle moves the sliders; at most once a frame, however fast it is.
function drag(svg, field, move) {
  let frame = 0;
  let held = false;
  const take = (event) => {
    if (!held) return;
    const point = pointerPosition(svg, event);
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => move(point));
  };
  field.addEventListener("pointerdown", (event) => {
    held = true;
    field.setPointerCapture(event.pointerId);
    take(event);
  });
  field.addEventListener("pointermove", take);
  for (const end of ["pointerup", "pointercancel"]) field.addEventListener(end, () => (held = false));
  return () => cancelAnimationFrame(frame);
}

function render({ model, el }) {
  const { classes, teacher, label, reach } = model.get("content");
  const { svg, sentence } = stage(el, WIDTH, 34 + HEIGHT + 34);
  svg.style.userSelect = "none"; // a drag is no selection
  const drawn = drawScene(svg, { classes, label });
  const setting = () => [teacher, label, model.get("temperature"), model.get("alpha")];
  const move = () => {
    const student = [model.get("first"), model.get("second"), 0];
    const temperature = model.get("temperature");
    moveArrows(drawn, student, gradients(student, ...setting()));
    drawn.path.setAttribute("d", through(gradientDescent(student, ...setting()).map((logits) => place(softened(logits, 1)))));
    for (const [name, logits] of [["student", student], ["teacher", teacher]]) {
      drawn[name](place(softened(logits, 1)));
      drawn.soft[name](place(softened(logits, temperature)));
    }
    losses(student, ...setting()).forEach((value, index) => (drawn.numbers[index].textContent = value.toFixed(2)));
    sentence.textContent = describe(student, teacher, classes, label, temperature, model.get("alpha"));
  };
  const reshade = () => {
    shade(drawn.cells, setting());
    move();
  };
  reshade();
  return endAll([
    follow(model, ["first", "second"], move),
    follow(model, ["temperature", "alpha"], reshade),
    drag(svg, drawn.field, (point) => {
      const [first, second] = logitsAt(point, reach);
      choose(model, { first, second });
    }),
  ]);
}

export default { render };
