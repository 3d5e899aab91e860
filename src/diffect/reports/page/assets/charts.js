// The plots of a study: its groups, quality against latency, learning, and schedules.

const MOST_GROUPS = 40; // rows of the first plot
const MOST_CURVES = 240;

/** The groups that are shown and measured in `metric`, with [mean, half-width]. */
function measured(metric) {
  const row = estimates(metric);
  return study.groups.map((group, place) => ({ group, mean: row?.[place][0] ?? null, half: row?.[place][1] ?? null }))
    .filter((one) => groupShown(one.group) && one.mean !== null);
}

function nothing(width, text) {
  return [60, [svg("text", { class: "title", x: width / 2, y: 34, "text-anchor": "middle" }, text)]];
}

function groupMark(one, metric, extra, ...inside) {
  const figures = `${study.metrics[metric].title} ${spread(metric, one.mean, one.half)}`;
  const lines = [one.group.label, figures, ...extra];
  const node = svg("g", { class: "mark", role: "button", "aria-label": `${lines.join(", ")}; open its runs` }, ...inside);
  tell(node, lines, () => openRuns([one.group], state.category, metric, spread(metric, one.mean, one.half)));
  return node;
}

/** Each group's mean and interval, a row each, and its single runs as small circles below the line. */
function groupPlot() {
  const caption = "Dots and lines: mean and 95% interval. Circles: single runs. Dashed: the reference.";
  return plot("Groups", caption, [], (width) => {
    const metric = state.metric;
    const all = measured(metric);
    if (!all.length) return nothing(width, "no values of what is chosen");
    const shown = all.slice(0, MOST_GROUPS);
    const narrow = width < 560;
    const room = narrow ? 8 : Math.min(260, 14 + 6.6 * Math.max(...shown.map((one) => one.group.label.length)));
    const row = narrow ? 44 : 30;
    const box = { left: room, right: width - 14, top: 6, bottom: 6 + row * shown.length };
    const runs = shown.map((one) => singles(one.group, metric));
    const ends = shown.flatMap((one) => [one.mean - (one.half ?? 0), one.mean + (one.half ?? 0)]);
    const reference = study.metrics[metric].reference;
    const values = [...ends, ...runs.flat().map((single) => single.value), ...(reference === null ? [] : [reference])];
    const share = study.metrics[metric].title !== "latency ms";
    const x = scale(values, box.left, box.right, { within: share ? [-0.005, 1.005] : null });
    const rule = reference === null ? [] : [
      svg("line", { class: "reference", x1: x.at(reference), x2: x.at(reference), y1: box.top, y2: box.bottom })];
    const marks = shown.map((one, place) => groupRow(one, runs[place], x, box, box.top + row * place, row, narrow));
    const note = all.length > shown.length ? `The first ${shown.length} of ${all.length} groups; the filter shows others.` : "";
    return [box.bottom + 44, [bottom(x, box, `${study.metrics[metric].title}, ${over()}`), ...rule, ...marks], note];
  });
}

function singles(group, metric) {
  return group.runs.map((place) => study.runs[place]).flatMap((run) => run.categories.filter(categoryShown).map(
    (category) => ({ run, category, value: figure(run, category, metric)[0] }))).filter((one) => one.value !== null);
}

function groupRow(one, runs, x, box, top, row, narrow) {
  const metric = state.metric;
  const y = top + (narrow ? 25 : row / 2 - 3);
  const stroke = colour(hue(one.group));
  const half = one.half ?? 0;
  const clip = (value) => Math.max(box.left, Math.min(box.right, x.at(value)));
  const name = narrow ? { x: box.left, y: top + 13 } : { x: box.left - 10, y: y + 4, "text-anchor": "end" };
  const most = Math.floor((narrow ? box.right - box.left : box.left - 10) / 6.6);
  const label = one.group.label.length > most ? `${one.group.label.slice(0, most - 1)}…` : one.group.label;
  const mark = groupMark(one, metric, [over()],
    svg("rect", { class: "hit", x: 0, y: top, width: box.right, height: row }),
    svg("text", { class: "name", ...name }, label),
    svg("line", { stroke, "stroke-width": 2, x1: clip(one.mean - half), x2: clip(one.mean + half), y1: y, y2: y }),
    svg("circle", { fill: stroke, cx: x.at(one.mean), cy: y, r: 4.5 }));
  const dots = runs.map((single) => {
    const dot = svg("circle", { class: "single", stroke, cx: x.at(single.value), cy: y + 10, r: 2.5 });
    const lines = [one.group.label, `${study.metrics[metric].title} ${written(metric, single.value)}`,
      `${study.categories[single.category]}, seed ${single.run.seed}, run ${single.run.signature}`];
    tell(dot, lines, () => openRun(single.run));
    return dot;
  });
  return svg("g", {}, mark, ...dots);
}

/** Quality against latency, with the line of those that no other group beats in both. */
function latencyPlot() {
  const latency = study.metrics.findIndex((metric) => metric.title === "latency ms");
  const caption = "Lines: 95% intervals. The stepped line joins the groups that none beats in both.";
  return plot("Quality against latency", caption, [], (width) => {
    const metric = state.metric === latency ? study.charted[0] : state.metric;
    const times = new Map(study.groups.map((group, place) => [group, study.estimates[latency][0]?.[place] ?? [null]]));
    const all = measured(metric).filter((one) => times.get(one.group)[0] !== null);
    if (!all.length) return nothing(width, "no values of what is chosen");
    const box = { left: 44, right: width - 14, top: 26, bottom: 300 };
    const ends = all.flatMap((one) => [one.mean - (one.half ?? 0), one.mean + (one.half ?? 0)]);
    const x = scale(all.map((one) => times.get(one.group)[0]), box.left, box.right, { pad: 0.12 });
    const y = scale(ends, box.bottom, box.top, { within: [-0.005, 1.005] });
    const front = pareto(all.map((one) => ({ ...one, time: times.get(one.group)[0] })), study.metrics[metric].higher !== false);
    const steps = front.flatMap((one, place) => (place ? [[x.at(one.time), y.at(front[place - 1].mean)]] : []).concat(
      [[x.at(one.time), y.at(one.mean)]]));
    const marks = all.map((one) => latencyMark(one, metric, latency, times.get(one.group), x, y, box, all.length <= 12));
    const path = svg("path", { class: "front", d: line(steps) });
    return [box.bottom + 44, [left(y, box, `${study.metrics[metric].title}, ${over()}`),
      bottom(x, box, "latency, ms per image"), path, ...marks]];
  });
}

function latencyMark(one, metric, latency, [time, spent], x, y, box, named) {
  const stroke = colour(hue(one.group));
  const half = one.half ?? 0;
  const clip = (value) => Math.max(box.top, Math.min(box.bottom, y.at(value)));
  const beyond = x.at(time) > (box.left + box.right) / 2;
  const text = svg("text", { class: "name", x: x.at(time) + (beyond ? -9 : 9), y: y.at(one.mean) - 7,
    "text-anchor": beyond ? "end" : "start" }, one.group.label.length > 26 ? `${one.group.label.slice(0, 25)}…` : one.group.label);
  return groupMark(one, metric, [`${study.metrics[latency].title} ${spread(latency, time, spent)}`],
    svg("line", { stroke, "stroke-width": 1.5, x1: x.at(time), x2: x.at(time), y1: clip(one.mean - half), y2: clip(one.mean + half) }),
    svg("circle", { class: "hit", cx: x.at(time), cy: y.at(one.mean), r: 14 }),
    svg("circle", { fill: stroke, cx: x.at(time), cy: y.at(one.mean), r: 5 }),
    named ? text : null);
}

function pareto(all, higher) {
  const sign = higher ? 1 : -1;
  const front = [];
  for (const one of [...all].sort((a, b) => a.time - b.time || sign * (b.mean - a.mean))) {
    if (!front.length || sign * (one.mean - front.at(-1).mean) > 0) front.push(one);
  }
  return front;
}

/** The selection loss of each run that learns by steps. */
function lossPlot() {
  const caption = "Loss on held-out normal images at fixed noise; the lowest chose the weights. A line per run.";
  return plot("Learning", caption, [legend(hues.map((name, place) => [name, place]))].filter(Boolean), (width) => {
    const all = study.runs.filter((run) => runShown(run) && run.losses.length > 1);
    if (!all.length) return nothing(width, "no run of what is chosen learned by steps");
    const shown = all.slice(0, MOST_CURVES);
    const points = shown.flatMap((run) => run.losses).filter(([, loss]) => loss !== null && loss > 0);
    if (!points.length) return nothing(width, "no loss above zero");
    const box = { left: 44, right: width - 14, top: 26, bottom: 300 };
    const x = scale(points.map(([step]) => step), box.left, box.right, { pad: 0.02 });
    const y = scale(points.map(([, loss]) => loss), box.bottom, box.top, { log: true });
    const curves = shown.map((run) => {
      const group = study.groups[run.group];
      const best = Math.min(...run.losses.map(([, loss]) => loss ?? Infinity));
      const lines = [group.label, `lowest loss ${short(best)}`, runText(run)];
      const d = line(run.losses.map(([step, loss]) => (loss > 0 ? [x.at(step), y.at(loss)] : null)));
      return curve(d, hue(group), lines, () => openRun(run));
    });
    const note = all.length > shown.length ? `The first ${shown.length} of ${all.length} runs; the filter shows others.` : "";
    return [box.bottom + 44, [left(y, box, "selection loss"), bottom(x, box, "step"), ...curves], note];
  });
}

/** A line that can be pointed at from a little way off. */
function curve(d, place, lines, open) {
  const node = svg("g", { class: "mark curve", role: "button", "aria-label": lines.join(", ") },
    svg("path", { class: "near", d }), svg("path", { class: "line", d, stroke: colour(place), "stroke-dasharray": dashes(place) }));
  tell(node, lines, open);
  return node;
}

/** What each scoring level alone would give, a line per group; null where no record says. */
function levelPlot() {
  const judged = Object.keys(study.levels).map(Number);
  if (!judged.length) return null;
  const caption = "The mean over categories and seeds if only this noise level were scored. Lines up and down: 95% intervals.";
  return plot("Scoring levels", caption, [], (width) => {
    const metric = judged.includes(state.metric) ? state.metric : judged[0];
    const all = study.groups.map((group, place) => ({ group, points: study.levels[metric][place] }))
      .filter((one) => groupShown(one.group) && one.points.length);
    if (!all.length) return nothing(width, "no scoring levels of what is chosen");
    const box = { left: 44, right: width - 14, top: 26, bottom: 300 };
    const known = all.flatMap((one) => one.points);
    const x = scale(known.map(([level]) => level), box.left, box.right);
    const ends = known.flatMap(([, mean, half]) => [mean - (half ?? 0), mean + (half ?? 0)]);
    const y = scale(ends, box.bottom, box.top, { within: [-0.005, 1.005] });
    const lines = all.map((one) => {
      const told = one.points.map(([level, mean, half]) => `at ${short(level)}: ${spread(metric, mean, half)}`);
      const node = curve(line(one.points.map(([level, mean]) => [x.at(level), y.at(mean)])), hue(one.group),
        [one.group.label, study.metrics[metric].title, ...told], () => openRuns([one.group], null, null, ""));
      const clip = (value) => Math.max(box.top, Math.min(box.bottom, y.at(value)));
      node.append(...one.points.flatMap(([level, mean, half]) => [
        svg("line", { stroke: colour(hue(one.group)), x1: x.at(level), x2: x.at(level), y1: clip(mean - half), y2: clip(mean + half) }),
        svg("circle", { fill: colour(hue(one.group)), cx: x.at(level), cy: y.at(mean), r: 3 })]));
      return node;
    });
    return [box.bottom + 44, [left(y, box, study.metrics[metric].title), bottom(x, box, "log-SNR of the scoring level"), ...lines]];
  });
}

const VIEWS = {
  log_snr: { text: "log-SNR over t", x: "t", left: "log-SNR" },
  density: { text: "training density over log-SNR", x: "log_snr", left: "p(log-SNR)" },
  weight: { text: "effective weight over log-SNR", x: "log_snr", left: "p w, unit area" },
};

/** The schedules, each in the colour of the runs that used it where it was theirs alone. */
function schedulePlot() {
  let chosen = "log_snr";
  const named = schedules();
  const pick = choice("Show", Object.entries(VIEWS).map(([key, { text }]) => [key, text]), chosen, (key) => {
    chosen = key;
    update({});
  });
  const controls = [pick, legend(named.map((one) => [one.label, one.place]))].filter(Boolean);
  return plot("Schedules", "Where training spends its samples, and what it weighs.", controls, (width) => {
    const shown = named.filter((one) => one.runs.some((place) => runShown(study.runs[place])));
    if (!shown.length) return nothing(width, "no schedule of what is chosen");
    const look = VIEWS[chosen];
    const all = shown.map((one) => ({ ...one, points: points(one, look.x, chosen) }));
    const known = all.flatMap((one) => one.points).filter(Boolean);
    if (!known.length) return nothing(width, "no finite values");
    const box = { left: 44, right: width - 14, top: 26, bottom: 300 };
    const x = scale(known.map(([value]) => value), box.left, box.right, { pad: 0 });
    const ends = known.map(([, value]) => value);
    const y = scale(chosen === "log_snr" ? ends : [0, ...ends], box.bottom, box.top, { pad: chosen === "log_snr" ? 0.03 : 0 });
    const curves = all.map((one) => curve(line(one.points.map((point) => point && [x.at(point[0]), y.at(point[1])])), one.place,
      [one.label, `${one.runs.length} runs`], () => openRuns(users(one), null, null, "")));
    return [box.bottom + 44, [left(y, box, look.left), bottom(x, box, look.x === "t" ? "t" : "log-SNR"), ...curves]];
  });
}

function users(schedule) {
  return [...new Set(schedule.runs.map((place) => study.groups[study.runs[place].group]))];
}

/** The schedules with names of their own: by name, then by what all their runs chose, and no others of that name. */
function schedules() {
  const all = study.schedules.map((one, order) => {
    const groups = users(one);
    const alone = groups.every((group) => hue(group) === hue(groups[0]));
    const common = study.axes.map((_, axis) => groups[0].values[axis]).filter(
      (value, axis) => groups.every((group) => group.values[axis] === value) && value.toLowerCase() !== one.name.toLowerCase());
    return { ...one, common, place: alone && study.schedules.length > 1 && hues.length > 1 ? hue(groups[0]) : order };
  });
  return all.map((one) => {
    const twins = all.filter((other) => other.name === one.name);
    const plain = twins.length === 1 ? one.name : [one.name, ...one.common].join(", ");
    const same = twins.filter((other) => other.common.join() === one.common.join());
    return { ...one, label: same.length > 1 && twins.length > 1 ? `${plain} #${same.indexOf(one) + 1}` : plain };
  });
}

/** [x, y] along a curve; the effective weight is scaled to unit area, since a factor is no more than a learning rate. */
function points(schedule, horizontal, vertical) {
  const pairs = schedule[horizontal].map((value, place) => [value, schedule[vertical][place]]);
  const kept = pairs.map((pair) => (pair[0] === null || pair[1] === null ? null : pair));
  if (vertical !== "weight") return kept;
  const known = kept.filter(Boolean);
  const area = known.slice(1).reduce(
    (sum, [value, height], place) => sum + Math.abs(value - known[place][0]) * (height + known[place][1]) / 2, 0);
  return kept.map((pair) => pair && [pair[0], pair[1] / (area || 1)]);
}
