"use strict";
// Searches and filters. Without it all is there, only not to be searched.
(() => {
  const form = document.getElementById("filter");
  const search = document.getElementById("search");
  const shown = document.getElementById("shown");
  const main = document.getElementById("main");
  const stories = Array.from(document.querySelectorAll("article.vm"));
  const rows = Array.from(document.querySelectorAll("tr[data-vm]"));
  let texts; // of the stories, from the first search on

  const chosen = (name) => new Set(Array.from(form.querySelectorAll(`input[name=${name}]`)).filter((box) => box.checked).map((box) => box.value));

  const filter = () => {
    const states = chosen("state");
    const words = search.value.toLowerCase().split(/\s+/).filter((word) => word);
    if (words.length && !texts) {
      texts = stories.map((story) => story.textContent.toLowerCase());
    }
    let n = 0;
    stories.forEach((story, i) => {
      const fits = states.has(story.dataset.state) && words.every((word) => texts[i].includes(word));
      story.hidden = !fits;
      rows[i].hidden = !fits;
      n += fits;
    });
    for (const box of form.querySelectorAll("input[name=severity]")) {
      main.classList.toggle(`no-${box.value}`, !box.checked);
    }
    shown.textContent = `${n} of ${stories.length} VMs shown`;
  };

  const all = () => Array.from(document.querySelectorAll("details"));
  const setOpen = (open) => all().forEach((part) => { part.open = open; });
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = all().filter((part) => !part.open);
    setOpen(true);
  });
  window.addEventListener("afterprint", () => closed.forEach((part) => { part.open = false; }));
  document.getElementById("open").addEventListener("click", () => setOpen(true));
  document.getElementById("close").addEventListener("click", () => setOpen(false));
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter();
})();
