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
  // Options are identified by their position, so that any name is possible.
  const selects = [...axes, categories].filter(([, names]) => names.length > 1).map(([name, names, pick]) => (
    choice(name, [["", "all"], ...names.map((one, place) => [String(place), one])], "",
      (value) => pick(value === "" ? null : names[Number(value)]))));
  const form = document.getElementById("filter");
  const reset = el("button", { type: "reset", class: "quiet" }, "Clear");
  form.append(el("label", { class: "choice find" }, el("span", {}, "Find"), look), ...selects, reset,
    el("span", { class: "count", role: "status" }));
  form.addEventListener("submit", (event) => event.preventDefault());
  const everything = { text: "", axes: study.axes.map(() => null), category: null, only: null };
  form.addEventListener("reset", () => update(everything));
  view(() => {
    const groups = study.groups.filter(groupShown).length;
    const runs = study.runs.filter((run) => runShown(run) && found(runText(run))).length;
    const texts = [`${groups} of ${study.groups.length} groups`, `${runs} of ${study.runs.length} runs`];
    form.querySelector(".count").textContent = texts.join(", ");
  });
}

/** What a figure of a study's table opens: the runs of its group, and of the baseline if it is a difference. */
function behindFigure(table) {
  return (row, column) => {
    if (row.group === null || column < table.labels) return null;
    const groups = [row.group, ...(table.paired ? [study.baseline] : [])].map((place) => study.groups[place]);
    const metric = table.columns[column].metric ?? row.metric;
    const { title } = table.columns[column];
    const name = metric === null || title === study.metrics[metric].title ? "" : `${title} `; // as of a p
    const { half } = row.cells[column];
    const shown = name + cellText(row.cells[column]) + (half ? ` ± ${half}` : "");
    return () => openRuns(groups, row.category, metric, shown);
  };
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
      ...study.charted.map((metric) => figureCell(metric, figure(run, category, metric)[0]))],
  })));
  const press = (row, column) => (column === 0 || column > labels ? () => openRun(row.run) : null);
  const title = "Every run on each of its categories; a run opens with its 95% intervals over test images";
  return makeTable({ title, columns, labels, rows, rules: [], press });
}

function figureCell(metric, value) {
  return value === null ? {} : { mean: written(metric, value) };
}

function tables() {
  return study.tables.flatMap((table) => {
    const notes = el("ul", { class: "notes" }, ...table.notes.map((note) => el("li", {}, note)));
    return [makeTable({ ...table, press: behindFigure(table) }), table.notes.length ? notes : ""];
  });
}

function plots() {
  const options = study.charted.map((metric) => [String(metric), study.metrics[metric].title]);
  const metric = choice("Metric", options, String(state.metric), (value) => update({ metric: Number(value) }));
  const all = [groupPlot(), alongPlot(), latencyPlot(), rankPlot(), levelPlot(), lossPlot(), schedulePlot()];
  return [el("div", { class: "tools" }, metric), el("div", { class: "plots" }, ...all.filter(Boolean))];
}

theme(document.getElementById("theme"));
filter();
document.getElementById("tables").append(...tables());
document.getElementById("plots").append(...plots());
document.getElementById("gallery").append(...gallery());
document.getElementById("runs").append(runsTable());
