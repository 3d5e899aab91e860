// The gallery: the worst misses, worst false alarms and clear hits of each run, with a slider from image to map.

const BLOCKS = 6; // runs shown at first, and added by each press of the button

function gallery() {
  // Runs of one category follow each other, in the order of the groups, so that they compare.
  const withPictures = study.runs.map((run, place) => ({ run, galleries: study.galleries[place] })).filter((one) => one.galleries)
    .sort((a, b) => a.run.categories[0] - b.run.categories[0] || a.run.group - b.run.group || a.run.seed - b.run.seed);
  if (!withPictures.length) {
    return [el("p", { class: "hint" }, "No run of this study has a gallery here; a log alone holds no pictures.")];
  }
  const wall = el("div", { class: "wall", "data-way": "fade" });
  let most = BLOCKS;
  let before = "";
  const draw = () => {
    // Only what names other runs draws the wall again: pictures are slow to lay out.
    const now = JSON.stringify([state.text, state.axes, state.category, state.only, most]);
    if (now === before) return;
    before = now;
    const shown = withPictures.filter(({ run }) => (
      state.only ? run === state.only : runShown(run) && found(runText(run))));
    const more = el("button", { type: "button", click: () => {
      most += BLOCKS;
      draw();
      wall.children[most - BLOCKS]?.querySelector("button").focus();
    } }, `Show more of ${shown.length} runs`);
    const all = el("button", { type: "button", click: () => update({ only: null }) }, "Show all runs again");
    wall.replaceChildren(...shown.slice(0, most).map(({ run, galleries }) => block(run, galleries)));
    if (!shown.length) wall.append(el("p", { class: "hint" }, "No run with pictures fits the filter."));
    if (shown.length > most) wall.append(more);
    if (state.only) wall.append(all);
  };
  view(draw);
  return [controls(wall), wall];
}

function controls(wall) {
  const input = el("input", { type: "range", min: 0, max: 100, value: 50, id: "reveal" });
  const reveal = () => {
    wall.style.setProperty("--reveal", input.value / 100);
    input.setAttribute("aria-valuetext", `${input.value}% map`);
  };
  input.addEventListener("input", reveal);
  reveal();
  const slider = el("div", { class: "slider" },
    el("label", { for: "reveal" }, "Image"), input, el("span", { "aria-hidden": "true" }, "Map"));
  const way = choice("By", [["fade", "fading"], ["wipe", "wiping"]], "fade", (value) => (wall.dataset.way = value));
  const toggle = (event) => wall.classList.toggle("bare", !event.target.checked);
  const outline = el("label", { class: "choice" },
    el("input", { type: "checkbox", checked: true, change: toggle }), el("span", {}, "defect outlines"));
  const key = el("div", { class: "key" }, el("span", {}, "usual level of good images"),
    el("span", { class: "ramp" }, "threshold"), el("span", {}, "far above"));
  return el("div", { class: "tools" }, slider, way, outline, key);
}

/** One run: its title, and for each category its defective images from the lowest score, its good from the highest. */
function block(run, galleries) {
  const group = study.groups[run.group];
  const parts = Object.entries(galleries).filter(([category]) => categoryShown(study.categories.indexOf(category)))
    .flatMap(([category, entries]) => {
      const by = (sign) => (a, b) => sign * (a.score - b.score) || collator.compare(a.name, b.name);
      const defective = entries.filter((entry) => entry.anomalous).sort(by(1));
      const good = entries.filter((entry) => !entry.anomalous).sort(by(-1));
      return [
        strip(`${category}: defective, lowest scores first`, defective),
        strip(`${category}: good, highest scores first`, good),
      ];
    });
  return el("article", { class: "block" },
    el("h3", {}, group.label, el("span", { class: "half" }, ` seed ${run.seed} `), runButton(run)),
    ...parts.filter(Boolean));
}

function strip(title, entries) {
  if (!entries.length) return null;
  return el("div", { class: "strip" }, el("h4", {}, title), el("div", { class: "row" }, ...entries.map(picture)));
}

const BAD = ["miss", "false alarm"];

function picture(entry) {
  const image = (name, place, alt) => {
    if (place === null) return null;
    return el("img", { class: name, src: study.pictures[place], alt, loading: "lazy", decoding: "async" });
  };
  const score = entry.score === null ? "" : `score ${entry.score.toPrecision(3)}`;
  const limit = entry.threshold === null ? "no threshold" : `threshold ${entry.threshold.toPrecision(3)}`;
  const text = `${entry.kind}: ${entry.name}, ${entry.defect}, ${score}`;
  return el("figure", { class: "picture" },
    el("div", { class: "stack" },
      image("photo", entry.image, text), image("map", entry.map, ""), image("outline", entry.mask, "")),
    el("figcaption", {},
      el("span", { class: `kind ${BAD.includes(entry.kind) ? "bad" : "fine"}` }, entry.kind), ` ${score}`,
      el("span", { class: "half" }, limit, el("br"), entry.name)));
}

function showGallery(run) {
  dialog.close();
  update({ only: run });
  const section = document.getElementById("gallery");
  section.scrollIntoView();
  section.querySelector(".block button").focus({ preventScroll: true });
}
