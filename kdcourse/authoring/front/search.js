// Searches the course in the reader's browser. `PAGES`, in pages.js, is fetched at the first key: {page, title, text} for each page.

const MOST = 10; // hits that are shown
const AROUND = 80; // characters of a page before and after the first word that was found

let asked; // the one load of pages.js

function loaded() {
  asked ??= new Promise((done, failed) => {
    const script = document.createElement("script");
    Object.assign(script, { src: "pages.js", onload: done, onerror: failed });
    document.head.append(script);
  });
  return asked;
}

// Pages that hold every word, those first that hold it in their title, then those that hold the words most often.
function search(pages, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return [];
  const times = (text, word) => text.toLowerCase().split(word).length - 1;
  return pages
    .filter(({ title, text }) => words.every((word) => times(`${title} ${text}`, word)))
    .map((page) => {
      const inTitle = words.filter((word) => times(page.title, word)).length;
      const often = words.reduce((sum, word) => sum + times(page.text, word), 0);
      return { ...page, score: 1000 * inTitle + often, excerpt: excerpt(page.text, words[0]) };
    })
    .sort((a, b) => b.score - a.score);
}

function excerpt(text, word) {
  const place = Math.max(text.toLowerCase().indexOf(word), 0);
  const start = Math.max(place - AROUND, 0);
  return `${start ? "… " : ""}${text.slice(start, place + word.length + AROUND)} …`;
}

function show(hits) {
  const lines = hits.slice(0, MOST).map(({ page, title, excerpt }) => {
    const line = document.createElement("li");
    const link = Object.assign(document.createElement("a"), { href: page, textContent: title });
    line.append(link, document.createElement("br"), excerpt);
    return line;
  });
  document.getElementById("hits").replaceChildren(...lines);
  document.getElementById("found").textContent = hits.length === 1 ? "1 page" : `${hits.length} pages`;
}

document.getElementById("search").addEventListener("input", async ({ target }) => {
  await loaded();
  show(search(PAGES, target.value));
});
document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
