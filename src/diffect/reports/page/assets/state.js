// The study, what is chosen of it, and how its figures are written.

const study = JSON.parse(document.getElementById("data").textContent);

/** Null stands for all; `only` is the one run whose gallery is shown. */
const state = { text: "", axes: study.axes.map(() => null), category: null, metric: study.charted[0], only: null };
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

function values(axis) {
  return [...new Set(study.groups.map((group) => group.values[axis]))].sort(collator.compare);
}

function groupShown(group) {
  return study.axes.every((_, axis) => state.axes[axis] === null || group.values[axis] === state.axes[axis]);
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
  return groupShown(study.groups[run.group]) && run.categories.some(categoryShown);
}

function runText(run) {
  const names = run.categories.map((category) => study.categories[category]);
  return [run.signature, run.folder, study.groups[run.group].label, ...names, `seed ${run.seed}`].join(" ");
}

/**
 * Of each group [mean, half-width, missing categories] in a metric, over all categories or in the chosen one; null where
 * the metric is not measured so.
 */
function estimates(metric) {
  return study.estimates[metric][scope()];
}

/** The place of what is chosen, all categories or one, in lists of both. */
function scope() {
  return state.category === null ? 0 : 1 + state.category;
}

/** [value, low, high] of a run on a category; all undefined where it has none. */
function figure(run, category, metric) {
  const place = run.categories.indexOf(category);
  return place < 0 ? [] : run.values[place][metric];
}

/** What is said where a plot cannot show all of its things; nothing where it does. */
function partly(shown, all, things) {
  return shown < all ? `The first ${shown} of ${all} ${things}; the filter shows others.` : "";
}

function written(metric, value) {
  return value === null || value === undefined ? "–" : value.toFixed(study.metrics[metric].digits);
}

function spread(metric, mean, half) {
  return written(metric, mean) + (half === null || half === undefined ? "" : ` ± ${written(metric, half)}`);
}

function over() {
  if (state.category !== null) return study.categories[state.category];
  return study.categories.length === 1 ? study.categories[0] : `mean of ${study.categories.length} categories`;
}

// Colours stand for the first axis: eight, then again with other dashes.

const hues = study.axes.length ? values(0) : [""];

function hue(group) {
  return Math.max(0, hues.indexOf(group.values[0] ?? ""));
}

function colour(place) {
  return `var(--c${place % 8})`;
}

function dashes(place) {
  return ["none", "6 3", "2 2", "8 3 2 3"][Math.floor(place / 8) % 4];
}
