// Brings the linked views of an exported page to life: HTML's own controls, and the views' scripts as they are.
// `SCRIPTS` (name -> source of a module) is put before this file; each view stands in a <script class="kd-export">.

// What a view asks of its model, without a kernel behind it.
function makeModel(values) {
  const listeners = {};
  return {
    get: (name) => values[name],
    set(name, value) {
      if (values[name] === value) return;
      values[name] = value;
      for (const call of listeners[`change:${name}`] ?? []) call();
    },
    on: (event, call) => (listeners[event] ??= new Set()).add(call),
    off: (event, call) => listeners[event]?.delete(call),
    save_changes() {},
  };
}

function input(spec) {
  const node = document.createElement(spec.kind === "select" ? "select" : "input");
  if (spec.kind === "select") {
    spec.options.forEach((label, index) => node.append(new Option(label, index)));
  } else {
    node.type = spec.kind;
    for (const limit of ["min", "max", "step"]) if (limit in spec) node[limit] = spec[limit];
  }
  return node;
}

// A control's value to and from its input: places in a list, powers on a logarithmic slider, numbers, yes or no.
function read(spec, node) {
  if (spec.kind === "checkbox") return node.checked;
  const number = Number(node.value);
  return spec.base ? spec.base ** number : number;
}

function write(spec, node, value) {
  if (spec.kind === "checkbox") node.checked = value;
  else node.value = spec.base ? Math.log(value) / Math.log(spec.base) : value;
}

function control(spec, model) {
  const [row, readout, node] = [document.createElement("label"), document.createElement("span"), input(spec)];
  readout.setAttribute("aria-hidden", "true"); // the slider itself says its value
  const update = () => {
    const value = model.get(spec.name);
    if (read(spec, node) !== value) write(spec, node, value);
    if (spec.kind !== "range") return;
    readout.textContent = `${Number(value.toPrecision(3))}`;
    node.setAttribute("aria-valuetext", readout.textContent); // a logarithmic slider's own number is an exponent
  };
  node.addEventListener("input", () => model.set(spec.name, read(spec, node)));
  model.on(`change:${spec.name}`, update);
  write(spec, node, spec.value);
  update();
  if (spec.rests) {
    const rest = () => { node.disabled = model.get(spec.rests); };
    model.on(`change:${spec.rests}`, rest);
    rest();
  }
  row.append(spec.description, " ", node, " ", readout);
  return row;
}

async function activate(data) {
  const { script, content, controls } = JSON.parse(data.textContent);
  const values = Object.fromEntries(controls.map(({ name, value }) => [name, value]));
  const model = makeModel({ content, ...values });
  const module = await import(URL.createObjectURL(new Blob([SCRIPTS[script]], { type: "text/javascript" })));
  const [box, el] = [document.createElement("div"), document.createElement("div")];
  box.className = "kd-controls tex2jax_ignore mathjax_ignore"; // as in shared.js
  box.append(...controls.map((spec) => control(spec, model)));
  module.default.render({ model, el });
  data.previousElementSibling.replaceWith(box, el); // the still figure has done its part
}

document.querySelectorAll("script.kd-export").forEach(activate);
