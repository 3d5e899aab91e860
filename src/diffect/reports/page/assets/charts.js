// Charts: the specifications of the paper, as Vega, with the rows that are chosen.

/** A figure of one chart; its views are drawn once it stands on the page, for they need its width. */
function chart(one) {
  const note = el("p", { class: "hint" });
  const stages = one.panels.map(() => el("div", { class: "stage", role: "group", "aria-label": one.title }));
  const node = el("figure", { class: one.panels.length > 1 ? "plot many" : "plot" },
    el("h3", {}, one.title), el("div", { class: "stages" }, ...stages), el("figcaption", {}, one.caption), note);
  const draw = () => stages.forEach((stage, place) => panel(stage, one, one.panels[place], note));
  return { node, draw };
}

async function panel(stage, one, spec, note) {
  const data = spec.data.map((source) => (source.name === one.source ? { ...source, values: chosen(one) } : source));
  // With `ast` Vega interprets its expressions, for the page forbids scripts made of text.
  const options = { mode: "vega", renderer: "svg", actions: false, tooltip: false, ast: true, logLevel: 1, defaultStyle: false };
  const { view: shown } = await vegaEmbed(stage, { ...spec, data }, options);
  const marks = () => [...stage.querySelectorAll("g.role-mark:not([aria-hidden]) > path")];
  const settle = roam(stage, marks, (mark, key) => (
    marks()[marks().indexOf(mark) + (key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1)]));
  const name = () => {
    for (const mark of marks()) {
      mark.setAttribute("role", "button");
      mark.setAttribute("aria-label", `${said(datum(mark)).join(", ")}; open its runs`);
    }
    settle();
  };
  listen(stage);
  shown.addSignalListener("width", () => shown.runAfter(name));
  view(() => {
    hideTip();
    shown.data(one.source, chosen(one)).signal("title", `${title(state.metric)}, ${over()}`).runAsync().then(() => {
      name();
      const all = study.data[one.source].filter(rowShown).length;
      const first = all > one.most && one.most ? `The first ${one.most} of ${all}; the filter shows others.` : "";
      note.textContent = [marks().length ? "" : "Nothing of what is chosen is drawn here.", first, one.lacking].join(" ");
    });
  });
}

/** The rows of a chart that are chosen, each with what is known of its group. */
function chosen(one) {
  const rows = study.data[one.source].filter(rowShown).slice(0, one.most ?? Infinity);
  return rows.map((row) => ({ ...study.groups[row.group], ...row }));
}

/** A row is of a group, or of several; of a metric and a category, or of all. */
function rowShown(row) {
  return (row.groups ?? [row.group]).some((place) => groupShown(study.groups[place]))
    && (row.metric === undefined || row.metric === state.metric)
    && (row.category === undefined || row.category === state.category);
}

/** What a mark stands for; null for axes and legends. */
function datum(node) {
  const row = [].concat(node.__data__ ?? null)[0]?.datum;
  return row && (row.group !== undefined || row.groups) ? row : null;
}

function said(row) {
  const lines = [row.name ?? row.label, row.metric ? `${title(row.metric)} ${row.text}` : row.text];
  if (row.category !== undefined) lines.push(over());
  if (row.missing) lines.push(`without ${row.missing} of the categories: not comparable`);
  return lines;
}

function open(row) {
  if (row.run) openRun(study.runs.find((run) => run.signature === row.run));
  else openRuns((row.groups ?? [row.group]).map((place) => study.groups[place]), row.category ?? null, row.metric ?? null, row.text);
}

/** A mark says what it is when it is pointed at or has the focus, and opens its runs on a click, Enter or Space. */
function listen(stage) {
  const on = (type, act) => stage.addEventListener(type, (event) => {
    const row = datum(event.target);
    if (row) act(row, event);
    else hideTip();
  });
  on("pointermove", (row, event) => showTip(said(row), event.clientX, event.clientY));
  on("focusin", (row, event) => {
    const { left, width, top } = event.target.getBoundingClientRect();
    showTip(said(row), left + width / 2, top);
  });
  on("click", open);
  on("keydown", (row, event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    open(row);
  });
  for (const type of ["pointerleave", "focusout"]) stage.addEventListener(type, hideTip);
}
