// Tables that sort and filter, a page at a time; each figure leads to its runs.

const ROWS = 30; // on one page of a table
let tableCount = 0;

/**
 * A table of `columns` ({title, metric}), the first `labels` of them text, and `rows` ({cells, group, category, foot}).
 * `press(row, column)` is what the button in a cell does, or null where it is no button; `rules` are the rows that a
 * line parts from those above, as long as nothing is sorted.
 */
function makeTable({ title, columns, labels, rows, rules, press }) {
  const sort = { column: null, descending: false };
  let page = 0;
  let size = ROWS;
  const numbered = rows.map((row, place) => ({ ...row, place, text: row.cells.map(cellText).join(" ") }));
  const heads = columns.map((column, place) => head(column, place, labels, () => sorted(place)));
  const body = el("tbody");
  const foot = el("tfoot");
  const pager = el("div", { class: "pager", hidden: true });
  const caption = el("h3", { id: `table-${(tableCount += 1)}` }, title);
  const table = el("table", { "aria-labelledby": caption.id }, el("thead", {}, el("tr", {}, ...heads)), body, foot);
  const wide = el("div", { class: "wide" }, table);

  const settle = roam(body, () => [...body.querySelectorAll("button")], neighbour);

  function sorted(place) {
    const metric = columns[place].metric;
    const best = place >= labels && !(metric !== null && study.metrics[metric].higher === false);
    if (sort.column !== place) Object.assign(sort, { column: place, descending: best });
    else if (sort.descending === best) sort.descending = !best;
    else sort.column = null;
    page = 0;
    draw();
  }

  function draw() {
    const shown = numbered.filter((row) => !row.foot && rowShown(row));
    if (sort.column !== null) shown.sort((a, b) => compare(a, b, sort, labels));
    page = Math.max(0, Math.min(page, Math.ceil(shown.length / size) - 1));
    const part = shown.slice(page * size, (page + 1) * size);
    const ruled = sort.column === null && shown.length === numbered.filter((row) => !row.foot).length;
    body.replaceChildren(...part.map((row) => tableRow(row, labels, press, ruled && rules.includes(row.place))));
    if (!part.length) {
      body.append(el("tr", {}, el("td", { class: "none", colspan: columns.length }, "no row fits the filter")));
    }
    foot.replaceChildren(...numbered.filter((row) => row.foot).map((row) => tableRow(row, labels, press, false)));
    heads.forEach((node, place) => node.setAttribute("aria-sort", direction(place, sort)));
    settle();
    turn(shown.length);
  }

  function turn(count) {
    pager.hidden = count <= size;
    const go = (step) => () => {
      page += step;
      draw();
      pager.querySelector(step < 0 ? "button" : "button:last-child").focus();
    };
    const last = Math.ceil(count / size) - 1;
    const range = `${page * size + 1} to ${Math.min(count, (page + 1) * size)} of ${count}`;
    const button = (text, step, end) => (
      el("button", { type: "button", class: "quiet", "aria-disabled": end ? "true" : null, click: go(step) }, text));
    pager.replaceChildren(
      button("Previous", -1, page === 0), el("span", { role: "status" }, range), button("Next", 1, page === last));
  }

  const resize = (rowsNow) => () => {
    size = rowsNow;
    draw();
  };
  addEventListener("beforeprint", resize(500));
  addEventListener("afterprint", resize(ROWS));
  view(draw);
  return el("div", { class: "sheet" }, caption, wide, pager);
}

function head(column, place, labels, click) {
  const button = el("button", { type: "button", click }, column.title);
  return el("th", { scope: "col", class: place < labels ? null : "number", "aria-sort": "none" }, button);
}

function direction(place, sort) {
  if (sort.column !== place) return "none";
  return sort.descending ? "descending" : "ascending";
}

function rowShown(row) {
  const group = row.group === null || groupShown(study.groups[row.group]);
  return group && categoryShown(row.category) && found(row.text);
}

/** Figures by size, labels in natural order; what is missing comes last either way, and equals keep their order. */
function compare(a, b, sort, labels) {
  const [x, y] = [a, b].map((row) => cellText(row.cells[sort.column]));
  if (!x || !y) return (x ? 0 : 1) - (y ? 0 : 1);
  const [p, q] = [x, y].map((text) => parseFloat(text.replace("<", "")));
  const numbers = sort.column >= labels && !Number.isNaN(p) && !Number.isNaN(q);
  const order = numbers ? p - q : collator.compare(x, y);
  return sort.descending ? -order : order;
}

function cellText(cell) {
  return typeof cell === "string" ? cell : cell.mean ?? "";
}

function tableRow(row, labels, press, ruled) {
  const cells = row.cells.map((cell, column) => {
    const inside = cellNode(cell);
    const open = cellText(cell) && press(row, column);
    const button = { type: "button", class: "figure", tabindex: "-1", click: open };
    const content = open ? [el("button", button, ...inside)] : inside;
    return column < labels ? el("th", { scope: "row" }, ...content) : el("td", { class: "number" }, ...content);
  });
  return el("tr", { class: ruled ? "ruled" : null }, ...cells);
}

function cellNode(cell) {
  if (typeof cell === "string") return [cell];
  if (!cell.mean) return ["–"];
  const half = cell.half ? el("span", { class: "half" }, ` ±\u2009${cell.half}`) : null;
  const mark = cell.mark ? el("sup", {}, cell.mark) : null;
  return [el(cell.best ? "strong" : "span", {}, cell.mean), half, mark].filter(Boolean);
}

/** The figure that an arrow key leads to from one in a table. */
function neighbour(button, key) {
  const cell = button.closest("td, th");
  const row = cell.parentNode;
  if (key === "ArrowLeft" || key === "ArrowRight") {
    const all = [...row.querySelectorAll("button")];
    return all[all.indexOf(button) + (key === "ArrowLeft" ? -1 : 1)];
  }
  const step = key === "ArrowUp" ? "previousElementSibling" : "nextElementSibling";
  for (let other = row[step]; other; other = other[step]) {
    const target = other.cells[cell.cellIndex]?.querySelector("button");
    if (target) return target;
  }
  return null;
}
