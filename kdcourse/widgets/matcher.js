// The layer matcher's drawing: the table of how alike layers are, and the maps of the pair that is chosen in it.

export function describe(alike, students, teachers, [student, teacher]) {
  const row = alike[student];
  const best = ranked(row)[0];
  const said = `The student's ${students[student]} and the teacher's ${teachers[teacher]}: CKA ${row[teacher].toFixed(2)}.`;
  if (best === teacher) return `${said} No layer of the teacher is closer to ${students[student]}.`;
  return `${said} Closest to ${students[student]} is the teacher's ${teachers[best]} with ${row[best].toFixed(2)}.`;
}

const ORANGE = COLOURS[1];
const LETTER_WIDTH = 7.5; // the width of one, roughly
const CELL_HEIGHT = 44;
const TOP = 46;
const TILE = 54;
const GAP = 6;
const BLOCK = 124; // height of one network's maps
const COLUMNS = 8; // the picture, the attention, six channels

// Where things lie, which depends on how long the layers' names are.
function layout(students, teachers) {
  const longest = (names) => LETTER_WIDTH * Math.max(...names.map((name) => name.length));
  const left = longest(["student's", ...students]) + 14;
  const cell = Math.max(50, longest(teachers) + 8);
  const bottom = TOP + CELL_HEIGHT * students.length;
  const maps = left + cell * teachers.length + 26;
  return { left, cell, bottom, maps, width: maps + COLUMNS * (TILE + GAP) + 16, height: Math.max(bottom + 30, 2 * BLOCK + 8) };
}

// The table; a click on a cell chooses its pair of layers.
function heatMap(svg, { alike, fills }, students, teachers, { left, cell, bottom }, pick) {
  make("text", { x: left, y: 16, class: "kd-heading" }, svg, "teacher's layer");
  make("text", { x: 0, y: TOP - 10, class: "kd-heading" }, svg, "student's");
  make("text", { x: 0, y: bottom + 20 }, svg, "★ the closest of the teacher's layers");
  const columns = teachers.map((name, column) =>
    make("text", { x: left + cell * (column + 0.5), y: TOP - 10, "text-anchor": "middle" }, svg, name),
  );
  const rows = students.map((name, row) => {
    const y = TOP + CELL_HEIGHT * row;
    const best = ranked(alike[row])[0];
    alike[row].forEach((value, column) => {
      const x = left + cell * column;
      const group = make("g", { style: "cursor: pointer" }, svg);
      make("rect", { x, y, width: cell, height: CELL_HEIGHT, fill: fills[row][column] }, group);
      const ink = { style: `fill: ${value > 0.5 ? "#000" : "#fff"}` };
      const place = { x: x + cell / 2, y: y + CELL_HEIGHT / 2 + 5, "text-anchor": "middle" };
      make("text", { ...place, ...ink }, group, `${column === best ? "★" : ""}${value.toFixed(2)}`);
      group.addEventListener("click", () => pick({ student: row, teacher: column }));
    });
    return make("text", { x: 0, y: y + CELL_HEIGHT / 2 + 5 }, svg, name);
  });
  const size = { width: cell - 4, height: CELL_HEIGHT - 4 };
  const frame = make("rect", { ...size, fill: "none", stroke: ORANGE, "stroke-width": 4 }, svg);
  return { frame, rows, columns };
}

function moveFrame({ frame, rows, columns }, { left, cell }, [student, teacher]) {
  frame.setAttribute("x", left + cell * teacher + 2);
  frame.setAttribute("y", TOP + CELL_HEIGHT * student + 2);
  rows.forEach((name, row) => name.setAttribute("class", row === student ? "kd-heading" : ""));
  columns.forEach((name, column) => name.setAttribute("class", column === teacher ? "kd-heading" : ""));
}

// One map out of a sheet that holds those of all pictures.
function drawTile(parent, { sheet, size: [width, height], channels }, row, column, x) {
  const box = { x, y: 42, width: TILE, height: TILE, viewBox: `${column * width} ${row * height} ${width} ${height}` };
  const window = make("svg", { ...box, preserveAspectRatio: "none", style: `width: ${TILE}px` }, parent);
  const whole = { width: width * (1 + channels[row].length), height: height * channels.length, href: sheet };
  make("image", { ...whole, preserveAspectRatio: "none", style: "image-rendering: pixelated" }, window);
}

// A network's maps of one picture, drawn anew when the layer or the picture changes.
function drawMaps(parent, who, layer, pictures, picture) {
  parent.replaceChildren();
  make("text", { y: 16, class: "kd-heading" }, parent, `${who}'s ${layer.layer}`);
  make("text", { y: 33 }, parent, layer.notes[picture]);
  const label = { y: 42 + TILE + 16, "text-anchor": "middle" };
  const square = { y: 42, width: TILE, height: TILE, style: "image-rendering: pixelated" };
  make("image", { ...square, href: pictures[picture] }, parent);
  const names = ["attention", ...layer.channels[picture].map((channel) => `ch. ${channel}`)];
  make("text", { ...label, x: TILE / 2 }, parent, "picture");
  names.forEach((name, column) => {
    const x = (column + 1) * (TILE + GAP);
    drawTile(parent, layer, picture, column, x);
    make("text", { ...label, x: x + TILE / 2 }, parent, name);
  });
}

function render({ model, el }) {
  const content = model.get("content");
  const { pictures, students, teachers, alike } = content;
  const [ours, theirs] = [students, teachers].map((layers) => layers.map(({ layer }) => layer));
  const places = layout(ours, theirs);
  const { svg, sentence } = stage(el, places.width, places.height);
  const table = heatMap(svg, content, ours, theirs, places, (pair) => choose(model, pair));
  const blocks = [0, 1].map((number) => make("g", { transform: `translate(${places.maps} ${BLOCK * number})` }, svg));
  const move = () => {
    const [student, teacher, picture] = ["student", "teacher", "picture"].map((name) => model.get(name));
    moveFrame(table, places, [student, teacher]);
    drawMaps(blocks[0], "student", students[student], pictures, picture);
    drawMaps(blocks[1], "teacher", teachers[teacher], pictures, picture);
    sentence.textContent = describe(alike, ours, theirs, [student, teacher]);
  };
  move();
  return follow(model, ["student", "teacher", "picture"], move);
}

export default { render };
