// The runs behind a number, and what is known of one run.

const dialog = document.getElementById("dialog");
const trail = []; // what Back leads to

dialog.addEventListener("close", () => (trail.length = 0));
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

function show(draw) {
  hideTip();
  trail.push(draw);
  redraw();
  if (!dialog.open) dialog.showModal();
  dialog.querySelector("h2").focus();
  dialog.scrollTop = 0;
}

function redraw() {
  const back = el("button", { type: "button", class: "quiet", click: goBack }, "Back");
  const close = el("button", { type: "button", class: "quiet", click: () => dialog.close() }, "Close");
  const [title, ...body] = trail.at(-1)();
  const heading = el("h2", { id: "dialog-title", tabindex: "-1" }, title);
  const buttons = el("div", { class: "buttons" }, trail.length > 1 ? back : null, close);
  const head = el("div", { class: "head" }, heading, buttons);
  dialog.replaceChildren(head, ...body.filter(Boolean));
}

function goBack() {
  trail.pop();
  redraw();
  dialog.querySelector("h2").focus();
}

/**
 * List the runs behind a number of `groups`: on one category or on all (null), with their values if it is of a metric.
 * `shown` is the number as the page has it.
 */
function openRuns(groups, category, metric, shown) {
  const rows = groups.flatMap((group) => group.runs.flatMap((place) => {
    const run = study.runs[place];
    const wanted = run.categories.filter((one) => category === null || one === category);
    return wanted.map((one) => ({ run, group, category: one, value: metric === null ? [] : figure(run, one, metric) }));
  }));
  const where = category === null ? [] : [study.categories[category]];
  const names = groups.map((group) => group.label).join(" less ");
  const what = metric === null ? "" : `${study.metrics[metric].title} ${shown}: `;
  const count = new Set(rows.map((row) => row.run)).size;
  const sum = el("p", {}, `${what}${count === 1 ? "one run" : `${count} runs`}.`);
  show(() => [[names, ...where].join(" · "), sum, behind(rows, metric, groups.length > 1)]);
}

function behind(rows, metric, several) {
  const figures = metric === null ? ["seed"] : ["seed", study.metrics[metric].title, "95% over images"];
  const body = rows.map(({ run, group, category, value }) => el("tr", {},
    el("th", { scope: "row" }, runButton(run)),
    several ? el("td", {}, group.label) : null,
    el("td", {}, study.categories[category]),
    el("td", { class: "number" }, String(run.seed)),
    metric === null ? null : el("td", { class: "number" }, written(metric, value[0])),
    metric === null ? null : el("td", { class: "number" }, interval(metric, value)),
  ));
  return plain(several ? ["run", "group", "category"] : ["run", "category"], figures, body);
}

function plain(labels, figures, body) {
  const head = el("tr", {}, ...labels.map((title) => el("th", { scope: "col" }, title)),
    ...figures.map((title) => el("th", { scope: "col", class: "number" }, title)));
  return el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "table" },
    el("table", {}, el("thead", {}, head), el("tbody", {}, ...body)));
}

function interval(metric, [, low, high]) {
  return low === undefined || low === null ? "–" : `${written(metric, low)} to ${written(metric, high)}`;
}

function runButton(run) {
  return el("button", { type: "button", class: "link code", click: () => openRun(run) }, run.signature);
}

/** All that the page knows of one run. */
function openRun(run) {
  const group = study.groups[run.group];
  const axes = study.axes.map((axis, place) => [axis, group.values[place]]);
  const choices = Object.entries(run.choices).map(([key, value]) => `${key}=${value}`).join("  ");
  const about = [["folder", run.folder], ...axes, ["seed", String(run.seed)], ...Object.entries(run.about)];
  const list = el("dl", {}, ...[...about, ["choices", choices]].flatMap(([key, value]) => [
    el("dt", {}, key.replace("_", " ")), el("dd", {}, value)]));
  const body = run.categories.flatMap((category, place) => study.metrics.map((one, metric) => el("tr", {},
    el("th", { scope: "row" }, study.categories[category]),
    el("td", {}, one.title),
    el("td", { class: "number" }, written(metric, run.values[place][metric][0])),
    el("td", { class: "number" }, interval(metric, run.values[place][metric])),
  )));
  const pictures = study.galleries[study.runs.indexOf(run)];
  const go = el("button", { type: "button", click: () => showGallery(run) }, "Show its gallery");
  show(() => [`Run ${run.signature}`, list, pictures ? el("p", {}, go) : null,
    plain(["category", "metric"], ["value", "95% over images"], body)]);
}
