// The sentence box's drawing: Python sends each model's answer to the sentence in the box, here it becomes bars.

const MAX_QUOTED = 60; // as in sentence.py

function agreement(answers, verdicts) {
  const [first, ...others] = answers.map(({ name }) => name);
  if (!others.length) return "";
  const apart = others.filter((_, index) => verdicts[index + 1] !== verdicts[0]);
  if (!apart.length) return " They agree.";
  const verb = apart.length === 1 ? "disagrees" : "disagree";
  return ` They part ways: ${apart.join(" and ")} ${verb} with ${first}.`;
}

function truncation(answers) {
  const limits = [...new Set(answers.map(({ cut }) => cut))];
  if (limits.length === 1) return limits[0] ? ` Only the first ${limits[0]} tokens are read.` : "";
  const short = answers.filter(({ cut }) => cut).map(({ name, cut }) => `${name} after ${cut} tokens`);
  return ` Cut short: ${short.join(", ")}.`;
}

export function describe(classes, { sentence, answers }) {
  if (!answers.length) return "There is nothing to read: type a sentence.";
  const verdicts = answers.map(({ probabilities }) => ranked(probabilities)[0]);
  const said = answers.map(({ name, probabilities }, index) => {
    const verdict = verdicts[index];
    return `${name}: ${classes[verdict]} ${(100 * probabilities[verdict]).toFixed(1)} %`;
  });
  const quoted = clipped(sentence, MAX_QUOTED);
  return `“${quoted}” ${said.join("; ")}.${agreement(answers, verdicts)}${truncation(answers)}`;
}

const [BLUE, ORANGE] = COLOURS;
const ROW = 25;
const GAP = 12; // between two models
const CLASS = 320; // right edge of the class names
const BAR = { left: CLASS + 10, width: 230, height: 15 };
const SHARE = BAR.left + BAR.width + 8;
const WIDTH = SHARE + 210;
const LONGEST = { name: 26, class: 15 }; // characters
const PAUSE = 1000; // milliseconds without a key

// A model's rows, one for each class. answer: undefined where there is nothing to read. first: the first model's verdict.
function drawModel(svg, top, name, classes, answer, first) {
  make("text", { x: 0, y: top + 16, class: "kd-heading" }, svg, clipped(name, LONGEST.name));
  if (answer) make("text", { x: 0, y: top + ROW + 16 }, svg, `answers in ${answer.milliseconds.toFixed(1)} ms`);
  const verdict = answer && ranked(answer.probabilities)[0];
  classes.forEach((label, index) => {
    const y = top + index * ROW;
    const text = clipped(label, LONGEST.class);
    make("text", { x: CLASS, y: y + 16, "text-anchor": "end" }, svg, text);
    const bar = { x: BAR.left, y: y + 4, height: BAR.height };
    make("rect", { ...bar, width: BAR.width, class: "kd-track" }, svg);
    if (!answer) return;
    const share = answer.probabilities[index];
    const chosen = index === verdict;
    make("rect", { ...bar, width: BAR.width * share, fill: chosen ? ORANGE : BLUE }, svg);
    const marks = `${chosen ? " ★" : ""}${chosen && verdict !== first ? " disagrees" : ""}`; // signs beside the colour
    make("text", { x: SHARE, y: y + 16 }, svg, `${(100 * share).toFixed(1)} %${marks}`);
  });
}

function render({ model, el }) {
  const { classes, names } = model.get("content");
  const height = classes.length * ROW + GAP;
  const { svg, sentence } = stage(el, WIDTH, names.length * height);
  const draw = () => {
    const asked = model.get("asked");
    const first = asked.answers.length && ranked(asked.answers[0].probabilities)[0];
    svg.replaceChildren();
    names.forEach((name, index) => drawModel(svg, index * height, name, classes, asked.answers[index], first));
    sentence.textContent = describe(classes, asked);
  };
  // Where typing comes to rest, Python draws the still figure anew.
  let timer;
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(() => choose(model, { rested: model.get("asked").sentence }), PAUSE);
  };
  draw();
  return endAll([follow(model, ["asked"], draw), follow(model, ["asked"], wait), () => clearTimeout(timer)]);
}

export default { render };
