// The tables, which stand on the page already: they sort, filter and search, and each figure leads to its runs.

const ROWS = 30; // of a table at first

function enhance(table) {
  const labels = Number(table.dataset.labels);
  const heads = [...table.tHead.rows[0].cells];
  const [body] = table.tBodies;
  const rows = [...body.rows].map((row) => ({ row, text: row.textContent }));
  const none = el("tr", {}, el("td", { class: "none", colspan: heads.length }, "no row fits the filter"));
  const more = el("button", { type: "button", class: "quiet", click: () => grow() });
  let most = ROWS;
  let ordered = rows;

  function draw() {
    const fitting = ordered.filter(({ row, text }) => tableRowShown(row) && found(text));
    for (const { row } of rows) row.hidden = true;
    for (const { row } of fitting.slice(0, most)) row.hidden = false;
    none.hidden = fitting.length > 0;
    more.hidden = fitting.length <= most;
    more.textContent = `Show all ${fitting.length} rows`;
    settle();
  }

  function grow() {
    most = Infinity;
    draw();
  }

  /** Best first, then worst first, then as the study has them. */
  function sortBy(column) {
    const best = column < labels || "low" in heads[column].dataset ? "ascending" : "descending";
    const worst = best === "ascending" ? "descending" : "ascending";
    const next = { none: best, [best]: worst, [worst]: "none" }[heads[column].ariaSort];
    for (const head of heads) head.ariaSort = head === heads[column] ? next : "none";
    table.classList.toggle("sorted", next !== "none");
    const order = (a, b) => compare(a.row, b.row, column, labels, next === "descending");
    ordered = next === "none" ? rows : [...rows].sort(order);
    body.append(...ordered.map(({ row }) => row), none);
    draw();
  }

  const settle = roam(body, () => [...body.querySelectorAll("tr:not([hidden]) button")], neighbour);
  heads.forEach((head, column) => head.firstChild.addEventListener("click", () => sortBy(column)));
  body.addEventListener("click", ({ target }) => target.closest("button") && press(target.closest("button"), heads, table.dataset.less));
  addEventListener("beforeprint", grow);
  table.parentNode.after(more);
  body.append(none);
  view(draw);
}

function tableRowShown({ dataset: { group, run, category } }) {
  const place = run === undefined ? group : study.runs[run].group;
  return (place === undefined || groupShown(study.groups[place])) && categoryShown(category ?? null);
}

/** What a button in a table opens: a run, or the runs of its group, and of the baseline if it is a difference from it. */
function press(button, heads, less) {
  const cell = button.closest("td, th");
  const { run, group, category, metric: ofRow } = cell.parentNode.dataset;
  if (run !== undefined) return openRun(study.runs[run]);
  const heading = heads[cell.cellIndex].textContent;
  const metric = heads[cell.cellIndex].dataset.metric ?? ofRow ?? null;
  const name = metric === null || heading === title(metric) ? "" : `${heading} `; // as of a p
  const groups = [group, less].filter((place) => place !== undefined).map((place) => study.groups[place]);
  return openRuns(groups, category ?? null, metric, name + button.textContent);
}

/** Figures by size, labels in natural order; what is missing comes last either way, and equals keep their order. */
function compare(a, b, column, labels, descending) {
  const [x, y] = [a, b].map((row) => row.cells[column].textContent);
  if (x === "–" || y === "–") return (x === "–") - (y === "–");
  const [p, q] = [x, y].map((text) => parseFloat(text.replace("<", "")));
  const order = column >= labels && !Number.isNaN(p - q) ? p - q : collator.compare(x, y);
  return descending ? -order : order;
}

/** The figure that an arrow key leads to from one in a table. */
function neighbour(button, key) {
  const cell = button.closest("td, th");
  if (key === "ArrowLeft" || key === "ArrowRight") {
    const all = [...cell.parentNode.querySelectorAll("button")];
    return all[all.indexOf(button) + (key === "ArrowLeft" ? -1 : 1)];
  }
  const step = key === "ArrowUp" ? "previousElementSibling" : "nextElementSibling";
  for (let row = cell.parentNode[step]; row; row = row[step]) {
    const target = row.hidden ? null : row.cells[cell.cellIndex]?.querySelector("button");
    if (target) return target;
  }
  return null;
}
