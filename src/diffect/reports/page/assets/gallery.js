// The gallery: the worst misses, worst false alarms and clear hits of each run, with a slider from image to map.

function gallery() {
  // Runs of one category follow each other, in the order of the groups, so that they compare.
  const runs = study.runs.filter((run, place) => study.galleries[place]).sort((a, b) => (
    collator.compare(a.categories[0], b.categories[0]) || a.group - b.group || a.seed - b.seed));
  if (!runs.length) return [el("p", { class: "hint" }, "No run of this study has a gallery here; a log alone holds no pictures.")];
  const blocks = runs.map((run) => [run, block(run, study.galleries[study.runs.indexOf(run)])]);
  const none = el("p", { class: "hint" }, "No run with pictures fits the filter.");
  const all = el("button", { type: "button", click: () => update({ only: null }) }, "Show all runs again");
  const wall = el("div", { class: "wall", "data-way": "fade" }, ...blocks.map(([, node]) => node), none, all);
  view(() => {
    for (const [run, node] of blocks) node.hidden = state.only ? run !== state.only : !runShown(run);
    none.hidden = blocks.some(([, node]) => !node.hidden);
    all.hidden = !state.only;
  });
  return [controls(wall), wall];
}

function controls(wall) {
  const slider = el("input", { type: "range", min: 0, max: 100, value: 50, id: "reveal", input: () => reveal() });
  const reveal = () => {
    wall.style.setProperty("--reveal", slider.value / 100);
    slider.setAttribute("aria-valuetext", `${slider.value}% map`);
  };
  reveal();
  const toggle = (event) => wall.classList.toggle("bare", !event.target.checked);
  return el("div", { class: "tools" },
    el("label", { class: "slider" }, "Image", slider, el("span", { "aria-hidden": "true" }, "Map")),
    choice("By", [["fade", "fading"], ["wipe", "wiping"]], (value) => (wall.dataset.way = value)),
    el("label", { class: "choice" }, el("input", { type: "checkbox", checked: true, change: toggle }), "defect outlines"),
    el("span", { class: "hint" }, "usual level of good images ", el("span", { class: "ramp" }, "threshold"), " far above"));
}

/** One run, and for each category its defective images from the lowest score, its good from the highest. */
function block(run, galleries) {
  const strips = Object.entries(galleries).flatMap(([category, entries]) => [true, false].map((anomalous) => {
    const shown = entries.filter((entry) => entry.anomalous === anomalous).sort((a, b) => (
      (anomalous ? a.score - b.score : b.score - a.score) || collator.compare(a.name, b.name)));
    const text = `${category}: ${anomalous ? "defective, lowest" : "good, highest"} scores first`;
    return shown.length ? el("div", {}, el("h4", {}, text), el("div", { class: "row" }, ...shown.map(picture))) : null;
  }));
  const heading = el("h3", {}, study.groups[run.group].label, el("span", { class: "half" }, ` seed ${run.seed} `), runButton(run));
  return el("article", { class: "block" }, heading, ...strips);
}

function picture(entry) {
  const image = (name, place, alt) => (
    place === null ? null : el("img", { class: name, src: study.pictures[place], alt, loading: "lazy", decoding: "async" }));
  const score = entry.score === null ? "" : `score ${entry.score.toPrecision(3)}`;
  const limit = entry.threshold === null ? "no threshold" : `threshold ${entry.threshold.toPrecision(3)}`;
  const look = ["miss", "false alarm"].includes(entry.kind) ? "bad" : "fine";
  return el("figure", { class: "picture" },
    el("div", { class: "stack" }, image("photo", entry.image, `${entry.kind}: ${entry.name}, ${entry.defect}, ${score}`),
      image("map", entry.map, ""), image("outline", entry.mask, "")),
    el("figcaption", {}, el("strong", { class: look }, entry.kind), ` ${score}`,
      el("span", { class: "half" }, limit, el("br"), entry.name)));
}

function showGallery(run) {
  dialog.close();
  update({ only: run });
  document.getElementById("gallery").scrollIntoView();
  document.querySelector("#gallery .block:not([hidden]) button").focus({ preventScroll: true });
}
