// The batch geometry's drawing: two planes, the triplet in them, and its true triangle in every network.

const NO_LENGTH = 1e-4; // as in geometry.py

function cosine(one, other, opposite) {
  if (Math.min(one, other) < NO_LENGTH) return 0;
  return Math.max(-1, Math.min(1, (one ** 2 + other ** 2 - opposite ** 2) / (2 * one * other)));
}

// Sides AB, AC, BC and the cosines at A, B, C, from distances (N, N) and the numbers of three pictures.
export function sidesAndCosines(apart, [a, b, c]) {
  const [ab, ac, bc] = [apart[a][b], apart[a][c], apart[b][c]];
  return { sides: [ab, ac, bc], cosines: [cosine(ab, ac, bc), cosine(ab, bc, ac), cosine(ac, bc, ab)] };
}

export function smoothL1(one, other) {
  const gaps = one.map((value, index) => Math.abs(value - other[index]));
  return total(gaps.map((gap) => (gap < 1 ? gap ** 2 / 2 : gap - 0.5))) / gaps.length;
}

function angle({ sides, cosines }) {
  if (Math.min(sides[0], sides[1]) < NO_LENGTH) return "no angle";
  return `${((180 / Math.PI) * Math.acos(cosines[0])).toFixed(0)}°`;
}

function losses(one, other) {
  return [smoothL1(one.sides, other.sides), smoothL1(one.cosines, other.cosines)].map((loss) => loss.toFixed(4));
}

export function describe(pair, names, corners) {
  const both = pair.map(({ apart }) => sidesAndCosines(apart, corners));
  const said = both.map((one, index) => {
    const lengths = one.sides.map((length, side) => `${["AB", "AC", "BC"][side]} ${length.toFixed(2)}`).join(", ");
    return `${pair[index].name}: ${lengths}, ${angle(one)} at A`;
  });
  const [distance, turn] = losses(...both);
  const spanned = corners.map((corner) => names[corner]).join(", ");
  return `Triplet ${spanned}; ${said.join("; ")}. RKD's losses of it: distance ${distance}, angle ${turn}.`;
}

const LETTERS = ["A", "B", "C"];
const TRAITS = ["a", "b", "c"];
const THUMB = 78;
const SIZE = 328; // of a plane
const TOP = 26;
const LEFTS = [130, 474];
const LEGEND = TOP + SIZE + 20;
const TABLE = LEGEND + 78;
const ROW = 66;
const ENDS = [340, 400, 460, 555, 680, 790]; // right edges of the table's columns
const SHAPES = [
  "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0-2 0", // the order is that of MARKERS in palette.py
  "M-.9-.9h1.8v1.8h-1.8z",
  "M0-1.1L1.1 .9H-1.1z",
  "M0-1.25L1.25 0L0 1.25L-1.25 0z",
  "M0 1.1L1.1-.9H-1.1z",
  "M-.4-1.1h.8v.7h.7v.8h-.7v.7h-.8v-.7h-.7v-.8h.7z",
];

function mark(kind, [x, y], size, parent) {
  make("path", { d: SHAPES[kind], fill: COLOURS[kind], transform: `translate(${x} ${y}) scale(${size})` }, parent);
}

// A white disc that carries a corner's letter, on any page.
function cornerLabel(letter, parent) {
  const group = make("g", {}, parent);
  make("circle", { r: 10, fill: "#fff", stroke: "currentColor", "stroke-width": 2 }, group);
  make("text", { y: 5, "text-anchor": "middle", style: "fill: #000; font-weight: bold" }, group, letter);
  return group;
}

function moveTo(node, [x, y]) {
  node.setAttribute("transform", `translate(${x} ${y})`);
}

function legend(svg, kinds) {
  let x = LEFTS[0];
  kinds.forEach((kind, number) => {
    mark(number, [x + 6, LEGEND - 4], 5, svg);
    make("text", { x: x + 18, y: LEGEND }, svg, kind);
    x += 40 + 7.5 * kind.length;
  });
}

// Where each picture lies in the drawing; both planes have one scale.
function positions(pair) {
  const reach = 1.1 * Math.max(...pair.flatMap(({ plane }) => plane.flat().map(Math.abs)));
  const scale = SIZE / 2 / (reach || 1);
  return pair.map(({ plane }, side) =>
    plane.map(([x, y]) => [LEFTS[side] + SIZE / 2 + scale * x, TOP + SIZE / 2 - scale * y]),
  );
}

function panel(svg, { name, share }, places, marks, left) {
  const title = `${name}: a plane with ${(100 * share).toFixed(0)} % of the variance`;
  make("text", { x: left, y: 16, class: "kd-heading" }, svg, title);
  make("rect", { x: left, y: TOP, width: SIZE, height: SIZE, class: "kd-line", opacity: 0.4 }, svg);
  places.forEach((place, number) => mark(marks[number], place, 4.5, svg));
  const lines = make("path", { class: "kd-line", "stroke-width": 1.5 }, svg);
  return { lines, discs: LETTERS.map((letter) => cornerLabel(letter, svg)) };
}

function thumbnails(svg) {
  return LETTERS.map((letter, number) => {
    const y = TOP + number * (THUMB + 32);
    const place = { x: 26, y, width: THUMB, height: THUMB, "image-rendering": "pixelated" };
    moveTo(cornerLabel(letter, svg), [12, y + 12]);
    return { image: make("image", place, svg), name: make("text", { x: 26, y: y + THUMB + 16 }, svg) };
  });
}

function headings(svg) {
  const note = "Below: the full space, in units of the batch's mean distance; a plane shows its two main components only.";
  make("text", { x: 0, y: TABLE - 32 }, svg, note);
  const columns = ["AB", "AC", "BC", "angle at A", "RKD distance", "RKD angle"];
  const heading = { y: TABLE - 6, "text-anchor": "end", class: "kd-heading" };
  columns.forEach((column, number) => make("text", { ...heading, x: ENDS[number] }, svg, column));
}

function rows(svg, networks, shown) {
  return networks.map(({ name }, number) => {
    const y = TABLE + ROW * number + ROW / 2 + 4;
    make("text", { x: 0, y, class: shown.includes(number) ? "kd-heading" : "" }, svg, name);
    return {
      shape: make("path", { class: "kd-line", "stroke-width": 1.5 }, svg),
      corner: make("text", { "text-anchor": "end" }, svg, "A"),
      cells: ENDS.map((x) => make("text", { x, y, "text-anchor": "end" }, svg)),
    };
  });
}

// The triangle in its true shape: it is flat in any space. Only its size is scaled away.
function moveTriangle({ sides, cosines }, row, number) {
  const size = (ROW - 14) / Math.max(...sides, NO_LENGTH);
  const [x, y] = [205, TABLE + ROW * number + ROW - 8];
  const foot = sides[1] * cosines[0] * size;
  const height = sides[1] * Math.sqrt(1 - cosines[0] ** 2) * size;
  row.shape.setAttribute("d", `M${x} ${y}h${sides[0] * size}L${x + foot} ${y - height}z`);
  moveTo(row.corner, [x - 5, y + 3]);
}

function moveTable(table, networks, corners) {
  const all = networks.map(({ apart }) => sidesAndCosines(apart, corners));
  all.forEach((one, number) => {
    moveTriangle(one, table[number], number);
    const apart = number ? losses(all[0], one) : ["–", "–"];
    const texts = [...one.sides.map((length) => length.toFixed(2)), angle(one), ...apart];
    texts.forEach((text, column) => (table[number].cells[column].textContent = text));
  });
}

function nearest(places, x, y) {
  const gaps = places.map(([left, top]) => Math.hypot(left - x, top - y));
  return ranked(gaps.map((gap) => -gap))[0];
}

// A click on a corner takes it in hand, a click elsewhere puts it on the nearest point.
function clicked(svg, event, places, corners, hand) {
  const [x, y] = pointerPosition(svg, event);
  const side = LEFTS.findIndex((left) => x >= left && x <= left + SIZE);
  if (side < 0 || y < TOP || y > TOP + SIZE) return {};
  const point = nearest(places[side], x, y);
  return corners.includes(point) ? { hand: corners.indexOf(point) } : { values: { [TRAITS[hand]]: point } };
}

function render({ model, el }) {
  const { pictures, names, marks, kinds, networks } = model.get("content");
  let drawn;
  let hand = 2;
  const corners = () => TRAITS.map((trait) => model.get(trait));
  const showHand = () => {
    drawn.hand.textContent = `Click A, B or C to take it, then the point where it shall go. In hand: ${LETTERS[hand]}.`;
  };
  const move = () => {
    const now = corners();
    now.forEach((corner, number) => {
      drawn.thumbnails[number].image.setAttribute("href", pictures[corner]);
      drawn.thumbnails[number].name.textContent = names[corner];
    });
    drawn.panels.forEach(({ lines, discs }, side) => {
      const spots = now.map((corner) => drawn.places[side][corner]);
      lines.setAttribute("d", `M${spots.map((spot) => spot.join(" ")).join("L")}z`);
      discs.forEach((node, number) => moveTo(node, spots[number]));
    });
    moveTable(drawn.table, networks, now);
    drawn.sentence.textContent = describe(drawn.pair, names, now);
  };
  const start = () => {
    const shown = [0, 1 + model.get("student")];
    const pair = shown.map((number) => networks[number]);
    const { svg, sentence } = stage(el, 806, TABLE + ROW * networks.length);
    const places = positions(pair);
    const panels = pair.map((one, side) => panel(svg, one, places[side], marks, LEFTS[side]));
    legend(svg, kinds);
    headings(svg);
    const label = make("text", { x: LEFTS[0], y: LEGEND + 22 }, svg);
    drawn = { sentence, pair, places, panels, hand: label, thumbnails: thumbnails(svg), table: rows(svg, networks, shown) };
    svg.addEventListener("click", (event) => {
      const { hand: taken = hand, values } = clicked(svg, event, places, corners(), hand);
      hand = taken;
      showHand();
      if (values) choose(model, values);
    });
    showHand();
    move();
  };
  start();
  return endAll([follow(model, TRAITS, move), follow(model, ["student"], start)]);
}

export default { render };
