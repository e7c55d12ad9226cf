"use strict";
// The file is complete without this script, which sorts, filters, marks, copies, and makes the charts answer.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const data = JSON.parse(document.getElementById("data").textContent);
const views = {};
const theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";

function sortBy(table, header) {
  const at = [...header.parentNode.children].indexOf(header);
  const turned = { ascending: "descending", descending: "ascending" }[header.ariaSort] || header.dataset.first;
  all("th", table.tHead).forEach((other) => other.removeAttribute("aria-sort"));
  header.ariaSort = turned;
  const sign = turned === "ascending" ? 1 : -1;
  const value = (row) => row.cells[at].dataset.value;
  const compare = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === "" || y === "") return (x === "") - (y === ""); // undefined values are last in both directions
    return sign * (isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y);
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
}

function filter(section) {
  const words = section.querySelector("[name=words]").value.toLowerCase();
  const fidelity = section.querySelector("[name=fidelity]").value;
  const budget = section.querySelector("[name=budget]").value;
  const rows = all(".board tbody tr", section);
  for (const row of rows) {
    const named = `${row.dataset.entry} ${row.dataset.method}`.toLowerCase().includes(words);
    const cheap = budget === "" || Number(row.dataset.megabytes) <= Number(budget);
    row.hidden = !(named && cheap && (!fidelity || row.dataset.fidelity === fidelity));
  }
  const shown = rows.filter((row) => !row.hidden).length;
  section.querySelector("output").textContent = shown === rows.length ? "" : `${shown} of ${rows.length} entries`;
}

function mark(section, row) {
  const rows = all(".board tbody tr", section);
  rows.forEach((other) => other.classList.remove("better", "worse", "pointed"));
  const numbers = (name) => (row && row.dataset[name] ? row.dataset[name].split(" ") : []);
  for (const name of ["better", "worse"])
    rows.filter((other) => numbers(name).includes(other.dataset.number)).forEach((other) => other.classList.add(name));
  if (row) row.classList.add("pointed");
  for (const figure of all("figure[id]", section))
    views[figure.id]?.signal("hovered", row ? row.dataset.entry : "").runAsync();
}

function showColumn(section, name, shown) {
  all(".board [data-column]", section).forEach((cell) => { if (cell.dataset.column === name) cell.hidden = !shown; });
}

function shownRows(section, parts) {
  const rows = all(".board tbody tr", section).filter((row) => !row.hidden);
  return parts.map((part) => part.head + rows.map((row) => part.rows[row.dataset.number]).join("") + part.tail).join("");
}

async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // a page from a file may not use the clipboard's interface
    const area = document.body.appendChild(document.createElement("textarea"));
    area.value = text;
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const label = button.dataset.label ??= button.textContent;
  button.textContent = "copied";
  setTimeout(() => { button.textContent = label; }, 1500);
}

function prepare(section) {
  all(".tools", section).forEach((tools) => { tools.hidden = false; });
  const table = section.querySelector(".board");
  for (const header of all("thead th[data-first]", table)) {
    const button = document.createElement("button");
    button.append(...header.childNodes);
    button.onclick = () => sortBy(table, header);
    header.append(button);
  }
  for (const row of table.tBodies[0].rows) {
    row.tabIndex = 0;
    row.onmouseenter = row.onfocus = () => mark(section, row);
    row.onmouseleave = row.onblur = () => mark(section, null);
  }
  all("[name=words], [name=fidelity], [name=budget]", section).forEach((input) => { input.oninput = () => filter(section); });
  for (const box of all("[name=column]", section)) {
    box.onchange = () => showColumn(section, box.value, box.checked);
    box.onchange();
  }
  for (const button of all("[data-copy]", section))
    button.onclick = () => copy(button, shownRows(section, data.copies[section.id][button.dataset.copy]));
}

async function draw(figure) {
  const spec = structuredClone(data.charts[figure.id]);
  const place = figure.querySelector(".chart");
  const narrow = place.clientWidth < 560;
  spec.width = "container";
  if (narrow) spec.config.legend = { ...spec.config.legend, orient: "bottom", columns: 1 };
  const result = await vegaEmbed(place, spec, { renderer: "svg", actions: false, tooltip: { theme } });
  views[figure.id] = result.view;
}

all("section.sheet").forEach(prepare);
for (const button of all("[data-command]")) {
  button.hidden = false;
  button.onclick = () => copy(button, button.dataset.command);
}
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((one) => one.isIntersecting)) {
    seen.unobserve(entry.target);
    draw(entry.target);
  }
}, { rootMargin: "400px" });
all("figure[id]").forEach((figure) => seen.observe(figure));
