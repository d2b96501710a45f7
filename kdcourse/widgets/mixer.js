// The ensemble mixer's drawing. The mixture of all pictures is computed here, where the sliders are.

// As in mixer.py: logits (M, N, C) and M weights -> probabilities (N, C).
export function mixture(logits, weights, temperature, mean) {
  const sum = total(weights);
  const average = (rows) => rows[0].map((_, k) => total(rows.map((row, m) => (weights[m] / sum) * row[k])));
  return logits[0].map((_, n) => {
    const rows = logits.map((teacher) => teacher[n]);
    if (mean === "logits") return softened(average(rows), temperature);
    return average(rows.map((row) => softened(row, temperature)));
  });
}

const decisions = (answers) => answers.map((row) => row.indexOf(Math.max(...row)));

function accuracy(answers, labels) {
  return (100 * decisions(answers).filter((decision, n) => decision === labels[n]).length) / labels.length;
}

export function disagreement(logits, weights) {
  const [first, ...others] = logits.filter((_, m) => weights[m] > 0).map(decisions);
  return (100 * first.filter((decision, n) => others.some((other) => other[n] !== decision)).length) / first.length;
}

// What changes with the weights: the mixture of every picture, or null where nobody is asked.
function currentMixture(content, weights, mean) {
  const { logits, temperature, means } = content;
  return weights.some((weight) => weight > 0) ? mixture(logits, weights, temperature, means[mean]) : null;
}

export function describe(content, weights, mean, picture, mixed = currentMixture(content, weights, mean)) {
  const { names, classes, labels, logits, means } = content;
  const alone = logits.map((answers) => accuracy(answers, labels));
  const [best] = ranked(alone);
  const single = `the best alone, ${names[best]}, ${alone[best].toFixed(1)} %`;
  if (!mixed) return `Every weight is 0, so there is no mixture. Of ${labels.length} pictures ${single}.`;
  const sum = total(weights);
  const said = names.map((name, m) => `${name} ${((100 * weights[m]) / sum).toFixed(0)} %`);
  const asked = said.filter((_, m) => weights[m] > 0).join(", ");
  const [top] = ranked(mixed[picture]);
  return (
    `Mean of ${means[mean]}, ${asked}: ${accuracy(mixed, labels).toFixed(1)} % right, ${single}; opinions differ on ` +
    `${disagreement(logits, weights).toFixed(1)} %. Picture ${picture + 1}, ${classes[labels[picture]]}: ` +
    `${classes[top]} ${(100 * mixed[picture][top]).toFixed(1)} %.`
  );
}

const WIDTH = 800;
const LEFT = 250; // right edge of what names the rows
const BARS = { top: 52, height: 90 };
const NAMES = BARS.top + BARS.height + 36;
const TABLE = { top: NAMES + 14, row: 24, most: 12 }; // of more classes the likeliest are shown

// One column for each teacher and one for the mixture: a bar with its number, a share and a name.
function drawColumns(svg, { names, labels }) {
  make("text", { x: LEFT + 10, y: 16, class: "kd-heading" }, svg, `right answers of ${labels.length} pictures, %`);
  make("text", { x: LEFT, y: NAMES - 18, "text-anchor": "end" }, svg, "share in the mixture");
  const width = (WIDTH - LEFT - 10) / (names.length + 1);
  return [...names, "mixture"].map((name, m) => {
    const x = LEFT + 10 + width * m;
    make("text", { x, y: NAMES, class: "kd-heading" }, svg, clipped(name, Math.floor(width / 8)));
    const fill = COLOURS[m === names.length ? 1 : 0];
    return {
      box: { x, width: width - 8 },
      fill,
      bar: make("rect", { x, width: width - 8, fill }, svg),
      number: make("text", { x, y: BARS.top - 10, class: "kd-heading" }, svg),
      share: make("text", { x, y: NAMES - 18 }, svg),
    };
  });
}

function setBar(column, percent) {
  const height = (BARS.height * (percent ?? 0)) / 100;
  const y = BARS.top + BARS.height - height;
  column.bar.setAttribute("y", y);
  column.bar.setAttribute("height", height);
  column.number.textContent = percent === null ? "none" : percent.toFixed(1);
}

// The classes of one picture, and in each column a bar that will be filled with what is thought of each.
function drawAnswers(svg, content, picture, drawn) {
  const { classes, labels, logits, pictures, temperature } = content;
  const href = pictures[picture];
  make("image", { href, x: 0, y: TABLE.top, width: 112, height: 112, "image-rendering": "pixelated" }, svg);
  make("text", { x: 0, y: TABLE.top + 132, class: "kd-heading" }, svg, `picture ${picture + 1}`);
  const likeliest = logits.map((teacher) => softened(teacher[picture], temperature));
  const most = classes.map((_, k) => Math.max(...likeliest.map((row) => row[k])));
  const shown = ranked(most).slice(0, TABLE.most).sort((a, b) => a - b);
  const rows = shown.map((index, place) => {
    const y = TABLE.top + TABLE.row * place;
    const own = index === labels[picture];
    const look = own ? { class: "kd-heading" } : {};
    make("text", { x: LEFT, y: y + 16, "text-anchor": "end", ...look }, svg, `${own ? "✓ " : ""}${classes[index]}`);
    const cells = drawn.map(({ box, fill }) => {
      make("rect", { ...box, y: y + 2, height: TABLE.row - 4, class: "kd-track" }, svg);
      const bar = make("rect", { x: box.x, y: y + 2, width: 0, height: TABLE.row - 4, fill, "fill-opacity": 0.6 }, svg);
      return { bar, width: box.width, text: make("text", { x: box.x + 5, y: y + 16 }, svg) };
    });
    return { index, cells };
  });
  const told = `✓ the right class, ★ the likeliest, in % at T = ${short(temperature)}; dashed: the best alone`;
  make("text", { x: LEFT + 10, y: TABLE.top + TABLE.row * rows.length + 20 }, svg, told);
  return rows;
}

function setShares(rows, column, probabilities) {
  const top = probabilities && ranked(probabilities)[0];
  for (const { index, cells } of rows) {
    const { bar, text, width } = cells[column];
    const share = probabilities ? probabilities[index] : 0;
    bar.setAttribute("width", width * share);
    text.textContent = probabilities ? `${(100 * share).toFixed(0)}${index === top ? " ★" : ""}` : "–";
  }
}

function render({ model, el }) {
  const content = model.get("content");
  const { names, labels, logits, temperature } = content;
  const controls = names.map((_, m) => `weight_${m + 1}`);
  const alone = logits.map((teacher) => accuracy(teacher, labels));
  let drawn;
  const move = () => {
    const weights = controls.map((name) => model.get(name));
    const [mean, picture] = [model.get("mean"), model.get("picture")];
    const mixed = currentMixture(content, weights, mean);
    const sum = total(weights) || 1;
    weights.forEach((weight, m) => {
      drawn.columns[m].share.textContent = `${((100 * weight) / sum).toFixed(0)} %`;
    });
    setBar(drawn.columns.at(-1), mixed && accuracy(mixed, labels));
    setShares(drawn.rows, names.length, mixed && mixed[picture]);
    drawn.sentence.textContent = describe(content, weights, mean, picture, mixed);
  };
  const start = () => {
    const { svg, sentence } = stage(el, WIDTH, TABLE.top + TABLE.row * Math.min(TABLE.most, content.classes.length) + 28);
    const picture = model.get("picture");
    const drawnColumns = drawColumns(svg, content);
    const rows = drawAnswers(svg, content, picture, drawnColumns);
    drawn = { columns: drawnColumns, rows, sentence };
    alone.forEach((percent, m) => {
      setBar(drawnColumns[m], percent);
      setShares(rows, m, softened(logits[m][picture], temperature));
    });
    const y = BARS.top + BARS.height * (1 - Math.max(...alone) / 100);
    make("line", { x1: LEFT + 10, x2: WIDTH, y1: y, y2: y, class: "kd-limit" }, svg);
    move();
  };
  start();
  return endAll([follow(model, [...controls, "mean"], move), follow(model, ["picture"], start)]);
}

export default { render };
