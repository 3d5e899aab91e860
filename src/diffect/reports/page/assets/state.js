// The study, and what is chosen of it.

const study = JSON.parse(document.getElementById("data").textContent);

/** Null stands for all; `only` is the one run whose gallery is shown. */
const state = { text: "", axes: study.axes.map(() => null), category: null, metric: study.metrics[0].name, only: null };
const views = [];

/** Draw now, and again whenever what is chosen changes. */
function view(draw) {
  views.push(draw);
  draw();
}

function update(changes) {
  Object.assign(state, changes);
  for (const draw of views) draw();
}

function groupShown(group) {
  return state.axes.every((value, axis) => value === null || group.values[axis] === value);
}

function categoryShown(category) {
  return state.category === null || category === null || category === state.category;
}

/** Whether all words that are looked for stand in `text`. */
function found(text) {
  const low = text.toLowerCase();
  return state.text.toLowerCase().split(/\s+/).every((word) => low.includes(word));
}

function runShown(run) {
  return groupShown(study.groups[run.group]) && run.categories.some(categoryShown) && found(runText(run));
}

function runText(run) {
  return [run.signature, run.folder, study.groups[run.group].label, ...run.categories, `seed ${run.seed}`].join(" ");
}

/** [value, low, high] of a run on a category, as texts; empty where it has none. */
function figure(run, category, metric) {
  return run.values[run.categories.indexOf(category)]?.[metric] ?? [];
}

function title(metric) {
  return study.metrics.find(({ name }) => name === metric).title;
}

function over() {
  if (state.category !== null) return state.category;
  return study.categories.length === 1 ? study.categories[0] : `mean of ${study.categories.length} categories`;
}
