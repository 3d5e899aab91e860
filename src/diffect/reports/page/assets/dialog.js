// The runs behind a number, and what is known of one run.

const dialog = document.getElementById("dialog");
const trail = []; // what Back leads to

dialog.addEventListener("close", () => (trail.length = 0));
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

function show(draw) {
  hideTip();
  trail.push(draw);
  redraw();
}

function redraw() {
  const [heading, ...body] = trail.at(-1)();
  const back = () => {
    trail.pop();
    redraw();
  };
  dialog.replaceChildren(
    el("div", { class: "head" },
      el("h2", { id: "dialog-title", tabindex: "-1" }, heading),
      el("div", { class: "buttons" },
        trail.length > 1 ? el("button", { type: "button", class: "quiet", click: back }, "Back") : null,
        el("button", { type: "button", class: "quiet", click: () => dialog.close() }, "Close"))),
    ...body.filter(Boolean));
  if (!dialog.open) dialog.showModal();
  dialog.querySelector("h2").focus();
  dialog.scrollTop = 0;
}

/** List the runs of `groups`, on one category or on all (null); `shown` is the number of a metric that they are behind. */
function openRuns(groups, category, metric, shown) {
  const rows = groups.flatMap((group) => group.runs.flatMap((place) => {
    const run = study.runs[place];
    const wanted = run.categories.filter((one) => category === null || one === category);
    return wanted.map((one) => ({ run, group, category: one }));
  }));
  const what = metric === null ? "" : `${title(metric)} ${shown}: `;
  const count = new Set(rows.map((row) => row.run)).size;
  const columns = [
    ["run", ({ run }) => runButton(run)],
    groups.length > 1 && ["group", ({ group }) => group.label],
    ["category", (row) => row.category],
    ["seed", ({ run }) => String(run.seed), true],
    metric !== null && [title(metric), (row) => figure(row.run, row.category, metric)[0] ?? "–", true],
    metric !== null && ["95% over images", (row) => interval(figure(row.run, row.category, metric)), true],
  ];
  show(() => [[groups.map((group) => group.label).join(" less "), category].filter(Boolean).join(" · "),
    el("p", {}, `${what}${count === 1 ? "one run" : `${count} runs`}.`), listed(columns.filter(Boolean), rows)]);
}

/** All that the page knows of one run. */
function openRun(run) {
  const group = study.groups[run.group];
  const about = [["folder", run.folder], ...study.axes.map((axis, place) => [axis, group.values[place]]),
    ["seed", String(run.seed)], ...Object.entries(run.about), ["choices", run.choices]];
  const list = el("dl", {}, ...about.flatMap(([key, value]) => [el("dt", {}, key), el("dd", {}, value)]));
  const rows = run.categories.flatMap((category) => study.all_metrics.map((metric) => ({ category, ...metric })));
  const columns = [
    ["category", (row) => row.category],
    ["metric", (row) => row.title],
    ["value", (row) => figure(run, row.category, row.name)[0] ?? "–", true],
    ["95% over images", (row) => interval(figure(run, row.category, row.name)), true],
  ];
  const go = el("button", { type: "button", click: () => showGallery(run) }, "Show its gallery");
  const pictures = study.galleries[study.runs.indexOf(run)];
  show(() => [`Run ${run.signature}`, list, pictures ? el("p", {}, go) : null, listed(columns, rows)]);
}

/** A plain table of columns [title, cell of a row, whether it is a number]. */
function listed(columns, rows) {
  const looks = ([, , number]) => ({ class: number ? "number" : null });
  const head = columns.map((column) => el("th", { scope: "col", ...looks(column) }, column[0]));
  const body = rows.map((row) => el("tr", {}, ...columns.map((column) => el("td", looks(column), column[1](row)))));
  return el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "table" },
    el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...body)));
}

function interval([, low, high]) {
  return low === undefined ? "–" : `${low} to ${high}`;
}

function runButton(run) {
  return el("button", { type: "button", class: "link code", click: () => openRun(run) }, run.signature);
}
