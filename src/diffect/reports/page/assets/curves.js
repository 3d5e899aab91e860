// Plots of curves: learning, scoring levels, and schedules.

const MOST_CURVES = 240;

/** A line that can be pointed at from a little way off. */
function curve(d, place, lines, open, ...inside) {
  const node = svg("g", { class: "mark curve", role: "button", "aria-label": lines.join(", ") },
    svg("path", { class: "near", d }),
    svg("path", { class: "line", d, stroke: colour(place), "stroke-dasharray": dashes(place) }),
    ...inside);
  tell(node, lines, open);
  return node;
}

/** The selection loss of each run that learns by steps. */
function lossPlot() {
  const caption = "Loss on held-out normal images at fixed noise; the lowest chose the weights. A line per run.";
  const learned = new Set(study.runs.filter((run) => run.losses.length > 1).map((run) => hue(study.groups[run.group])));
  const names = hues.map((name, place) => [name, place]).filter(([, place]) => learned.has(place));
  return plot("Learning", caption, [legend(names)], (width) => {
    const all = study.runs.filter((run) => runShown(run) && run.losses.length > 1);
    if (!all.length) return nothing(width, "no run of what is chosen learned by steps");
    const shown = all.slice(0, MOST_CURVES);
    const known = shown.flatMap((run) => run.losses).filter(([, loss]) => loss > 0);
    if (!known.length) return nothing(width, "no loss above zero");
    const box = { ...BOX, right: width - 14 };
    const x = scale(known.map(([step]) => step), box.left, box.right, { pad: 0.02 });
    const y = scale(known.map(([, loss]) => loss), box.bottom, box.top, { log: true });
    const curves = shown.map((run) => {
      const lowest = Math.min(...run.losses.map(([, loss]) => loss ?? Infinity));
      const lines = [study.groups[run.group].label, `lowest loss ${short(lowest)}`, runText(run)];
      const d = line(run.losses.map(([step, loss]) => (loss > 0 ? [x.at(step), y.at(loss)] : null)));
      return curve(d, hue(study.groups[run.group]), lines, () => openRun(run));
    });
    const axes = [left(y, box, "selection loss"), bottom(x, box, "step")];
    return [box.bottom + 44, [...axes, ...curves], partly(shown.length, all.length, "runs")];
  });
}

/** What each scoring level alone would give, a line per group; null where no record says. */
function levelPlot() {
  const judged = Object.keys(study.levels.curves).map(Number);
  if (!judged.length) return null;
  const several = Object.values(study.levels.curves).flat(2).some(([, , half]) => half !== null);
  const caption = "The mean over categories and seeds if only this noise level were scored"
    + (several ? ", with 95% intervals over seeds where there are several." : ".");
  const drawn = hues.map((name, place) => [name, place]).filter(([, place]) => study.groups.some((group, order) => (
    hue(group) === place && judged.some((metric) => study.levels.curves[metric][order].length))));
  return plot("Scoring levels", caption, [legend(drawn)], (width) => {
    const metric = judged.includes(state.metric) ? state.metric : judged[0];
    const all = study.groups
      .map((group, place) => ({
        group, points: study.levels.curves[metric][place], partial: study.levels.partial[place] }))
      .filter((one) => groupShown(one.group) && one.points.length);
    if (!all.length) return nothing(width, "no scoring levels of what is chosen");
    const box = { ...BOX, right: width - 14 };
    const known = all.flatMap((one) => one.points);
    const x = scale(known.map(([level]) => level), box.left, box.right);
    const y = scale(ends(known.map(([, mean, half]) => ({ mean, half }))), box.bottom, box.top, { within: SHARE });
    const nudge = Math.min(3, 24 / all.length); // side by side, not on top of each other
    const curves = all.map((one, order) => {
      const moved = (level) => x.at(level) + nudge * (order - (all.length - 1) / 2);
      return levelCurve(one, metric, moved, y, box);
    });
    const partial = all.filter((one) => one.partial).map((one) => `${one.group.label} (${one.partial})`);
    const hollow = partial.length ? `Hollow, since not comparable: ${partial.join(", ")}. ` : "";
    const axes = [left(y, box, study.metrics[metric].title), bottom(x, box, "log-SNR of the scoring level")];
    return [box.bottom + 44, [...axes, ...curves], hollow + study.levels.left_out];
  });
}

function levelCurve({ group, points, partial }, metric, x, y, box) {
  const place = hue(group);
  const texts = points.map(([level, mean, half]) => `at ${short(level)}: ${spread(metric, mean, half)}`);
  const dots = points.flatMap(([level, mean, half]) => {
    const [low, high] = ends([{ mean, half }]).map((value) => Math.max(box.top, Math.min(box.bottom, y.at(value))));
    return [
      svg("line", { stroke: colour(place), x1: x(level), x2: x(level), y1: low, y2: high }),
      svg("circle", { stroke: colour(place), fill: partial ? "var(--paper)" : colour(place), cx: x(level), cy: y.at(mean),
        r: 3 }),
    ];
  });
  const d = line(points.map(([level, mean]) => [x(level), y.at(mean)]));
  const lines = [group.label, study.metrics[metric].title, ...(partial ? [`over ${partial}`] : []), ...texts];
  return curve(d, place, lines, () => openRuns([group], null, null, ""), ...dots);
}

const VIEWS = {
  log_snr: { text: "log-SNR over t", across: "t", acrossTitle: "t", upTitle: "log-SNR" },
  density: { text: "training density", across: "log_snr", acrossTitle: "log-SNR", upTitle: "p(log-SNR)" },
  weight: { text: "effective weight", across: "log_snr", acrossTitle: "log-SNR", upTitle: "p w, unit area" },
};

/** The schedules that runs train by, each in the colour of those runs where it is theirs alone; null without any. */
function schedulePlot() {
  if (!study.schedules.length) return null;
  let up = "log_snr";
  const named = study.schedules.map((one, order) => ({ ...one, place: ownHue(one) ?? order }));
  const pick = choice("Show", Object.entries(VIEWS).map(([key, { text }]) => [key, text]), up, (key) => {
    up = key;
    update({});
  });
  const controls = [pick, legend(named.map((one) => [one.name, one.place]))];
  return plot("Schedules", "Where training spends its samples, and what it weighs.", controls, (width) => {
    const look = VIEWS[up];
    const all = named
      .filter((one) => one.runs.some((place) => runShown(study.runs[place])))
      .map((one) => ({ ...one, points: points(one, look.across, up) }));
    const known = all.flatMap((one) => one.points).filter(Boolean);
    if (!known.length) return nothing(width, "no schedule of what is chosen");
    const box = { ...BOX, right: width - 14 };
    const heights = known.map(([, value]) => value);
    const x = scale(known.map(([value]) => value), box.left, box.right, { pad: 0 });
    const y = up === "log_snr"
      ? scale(heights, box.bottom, box.top, { pad: 0.03 })
      : scale([0, ...heights], box.bottom, box.top, { pad: 0 });
    const curves = all.map((one) => {
      const d = line(one.points.map((point) => point && [x.at(point[0]), y.at(point[1])]));
      const lines = [one.name, one.runs.length === 1 ? "one run" : `${one.runs.length} runs`];
      return curve(d, one.place, lines, () => openRuns(users(one), null, null, ""));
    });
    return [box.bottom + 44, [left(y, box, look.upTitle), bottom(x, box, look.acrossTitle), ...curves]];
  });
}

/** The colour of the groups that train by a schedule, if they share one. */
function ownHue(schedule) {
  const found = new Set(users(schedule).map(hue));
  return hues.length > 1 && found.size === 1 ? [...found][0] : null;
}

function users(schedule) {
  return [...new Set(schedule.runs.map((place) => study.groups[study.runs[place].group]))];
}

/** [x, y] along a curve; the effective weight has unit area, since a factor is no more than a learning rate. */
function points(schedule, across, up) {
  const pairs = schedule[across].map((value, place) => [value, schedule[up][place]]);
  const whole = pairs.map((pair) => (pair.includes(null) ? null : pair));
  if (up !== "weight") return whole;
  const known = whole.filter(Boolean);
  const trapezia = known.slice(1).map(([value, height], place) => (
    Math.abs(value - known[place][0]) * (height + known[place][1]) / 2));
  const area = trapezia.reduce((sum, one) => sum + one, 0) || 1;
  return whole.map((pair) => pair && [pair[0], pair[1] / area]);
}
