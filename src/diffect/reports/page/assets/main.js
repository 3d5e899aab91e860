// The page, put together.

function filter() {
  const look = el("input", { type: "search", id: "look", autocomplete: "off", spellcheck: "false",
    placeholder: "rows and runs, by any word", input: () => update({ text: look.value, only: null }) });
  const axes = study.axes.map((axis, place) => [axis, values(place), (value) => {
    const chosen = [...state.axes];
    chosen[place] = value;
    update({ axes: chosen, only: null });
  }]);
  const categories = ["category", study.categories, (value) => (
    update({ category: value === null ? null : study.categories.indexOf(value), only: null }))];
  // Options are told apart by their place, so that any name may stand among them.
  const selects = [...axes, categories].filter(([, names]) => names.length > 1).map(([name, names, pick]) => (
    choice(name, [["", "all"], ...names.map((one, place) => [String(place), one])], "",
      (value) => pick(value === "" ? null : names[Number(value)]))));
  const form = document.getElementById("filter");
  const reset = el("button", { type: "reset", class: "quiet" }, "Clear");
  form.append(el("label", { class: "choice find" }, el("span", {}, "Find"), look), ...selects, reset,
    el("span", { class: "count", role: "status" }));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => update({ text: "", axes: study.axes.map(() => null), category: null, only: null }));
  view(() => {
    const groups = study.groups.filter(groupShown).length;
    const runs = study.runs.filter((run) => runShown(run) && found(runText(run))).length;
    form.querySelector(".count").textContent = `${groups} of ${study.groups.length} groups, ${runs} of ${study.runs.length} runs`;
  });
}

/** What a figure of a study's table opens: the runs of its group, and of the baseline if it is a difference. */
function behindFigure(table) {
  return (row, column) => {
    if (row.group === null) return null;
    const cell = row.cells[column];
    const metric = table.columns[column].metric ?? row.metric;
    const groups = [study.groups[row.group], ...(table.paired ? [study.groups[study.baseline]] : [])];
    if (column < table.labels) return null;
    return () => openRuns(groups, row.category, metric, spread2(cell));
  };
}

function spread2(cell) {
  return typeof cell === "string" ? cell : cell.mean + (cell.half ? ` ± ${cell.half}` : "");
}

function runsTable() {
  const columns = ["run", ...study.axes, "category", "seed"].map((title) => ({ title, metric: null }));
  const labels = columns.length - 1;
  columns.push(...study.charted.map((metric) => ({ title: study.metrics[metric].title, metric })));
  const rows = study.runs.flatMap((run) => run.categories.map((category) => ({
    run,
    group: run.group,
    category,
    foot: false,
    cells: [run.signature, ...study.groups[run.group].values, study.categories[category], String(run.seed),
      ...study.charted.map((metric) => ({ mean: written(metric, figure(run, category, metric)[0]).replace("–", "") }))],
  })));
  const press = (row, column) => (column === 0 || column > labels ? () => openRun(row.run) : null);
  return makeTable({ title: "single runs; the intervals of each stand behind it", columns, labels, rows, rules: [], press });
}

function tables() {
  return study.tables.flatMap((table) => {
    const notes = table.notes.length ? el("ul", { class: "notes" }, ...table.notes.map((note) => el("li", {}, note))) : null;
    return [makeTable({ ...table, press: behindFigure(table) }), notes].filter(Boolean);
  });
}

function plots() {
  const options = study.charted.map((metric) => [String(metric), study.metrics[metric].title]);
  const metric = choice("Metric", options, String(state.metric), (value) => update({ metric: Number(value) }));
  const grid = el("div", { class: "plots" }, ...[groupPlot(), latencyPlot(), lossPlot(), schedulePlot(), levelPlot()].filter(Boolean));
  return [el("div", { class: "tools" }, metric), grid];
}

theme(document.getElementById("theme"));
filter();
document.getElementById("tables").append(...tables());
document.getElementById("plots").append(...plots());
document.getElementById("gallery").append(...gallery());
document.getElementById("runs").append(runsTable());
