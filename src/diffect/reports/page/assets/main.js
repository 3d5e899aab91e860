// The page, put together.

function filter() {
  const look = el("input", { type: "search", id: "look", autocomplete: "off", spellcheck: "false",
    placeholder: "rows and runs, by any word", input: () => update({ text: look.value, only: null }) });
  const axes = study.axes.map((axis, place) => {
    const values = [...new Set(study.groups.map((group) => group.values[place]))].sort(collator.compare);
    return [axis, values, (value) => update({ axes: state.axes.with(place, value), only: null })];
  });
  const categories = ["category", study.categories, (category) => update({ category, only: null })];
  // Options are identified by their position, so that any name is possible.
  const selects = [...axes, categories].filter(([, names]) => names.length > 1).map(([name, names, pick]) => (
    choice(name, [["", "all"], ...names.map((one, place) => [place, one])], (value) => pick(names[value] ?? null))));
  const form = document.getElementById("filter");
  const count = el("span", { class: "count", role: "status" });
  const reset = el("button", { type: "reset", class: "quiet" }, "Clear");
  form.append(el("label", { class: "choice find" }, el("span", {}, "Find"), look), ...selects, reset, count);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => update({ text: "", axes: study.axes.map(() => null), category: null, only: null }));
  view(() => {
    const groups = `${study.groups.filter(groupShown).length} of ${study.groups.length} groups`;
    count.textContent = `${groups}, ${study.runs.filter(runShown).length} of ${study.runs.length} runs`;
  });
}

function charts() {
  const metric = choice("Metric", study.metrics.map(({ name, title: text }) => [name, text]), (name) => update({ metric: name }));
  const all = study.charts.map(chart);
  document.getElementById("plots").append(
    el("div", { class: "tools" }, metric), el("div", { class: "plots" }, ...all.map(({ node }) => node)));
  for (const { draw } of all) draw();
}

theme(document.getElementById("theme"));
filter();
document.querySelectorAll("#tables table, #runs table").forEach(enhance);
document.getElementById("gallery").append(...gallery());
charts();
