// A lab as slides: what stands between two headings is one slide; the address keeps its number.
{
  const cells = [...document.querySelectorAll(".jp-Cell")];
  const isTitle = (cell) => cell.querySelector("h1, h2, h3") !== null;
  const slides = cells.reduce((all, cell) => {
    if (isTitle(cell) || !all.length) all.push([]);
    all.at(-1).push(cell);
    return all;
  }, []);
  let now = Math.min(Math.max(Number(location.hash.slice(1)) || 1, 1), slides.length) - 1;
  const counter = document.createElement("p");
  counter.className = "kd-counter";
  counter.setAttribute("aria-live", "polite");
  document.body.append(counter);
  const show = (number) => {
    now = Math.min(Math.max(number, 0), slides.length - 1);
    slides.forEach((slide, index) => slide.forEach((cell) => (cell.hidden = index !== now)));
    counter.textContent = `${now + 1} of ${slides.length}`;
    location.hash = `${now + 1}`;
    window.scrollTo(0, 0);
  };
  const steps = { ArrowRight: 1, PageDown: 1, ArrowLeft: -1, PageUp: -1 };
  document.addEventListener("keydown", (event) => {
    const within = event.target.closest?.("input, select, textarea"); // a slider keeps its arrow keys
    if (!within && event.key in steps) show(now + steps[event.key]);
  });
  show(now);
}
