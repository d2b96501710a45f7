// What is larger than its place scrolls, and whoever scrolls by keyboard must be able to stand on it; nothing else is a stop.
const sized = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const scrolls = target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight;
    if (scrolls) target.setAttribute("tabindex", "0");
    else target.removeAttribute("tabindex");
  }
});
const scrollable = (node) => ["auto", "scroll"].includes(getComputedStyle(node).overflowX);
[...document.querySelectorAll("main *")].filter(scrollable).forEach((node) => sized.observe(node));
