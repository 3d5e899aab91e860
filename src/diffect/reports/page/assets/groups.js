// Plots of groups: each with its interval and its single runs, and quality against latency.

const MOST_GROUPS = 40; // rows of the first plot
const MOST_NAMED = 12; // dots with their names beside them
const LETTER = 6.6; // pixels, about

/** The groups that are shown and measured in `metric`: mean, half-width, and how many categories the mean lacks. */
function measured(metric) {
  const row = estimates(metric) ?? [];
  return row
    .map(([mean, half, missing], place) => ({ group: study.groups[place], mean, half, missing }))
    .filter((one) => groupShown(one.group) && one.mean !== null);
}

/** A mean's dot; hollow where it does not compare with the others. */
function dot({ group, missing }, cx, cy) {
  const stroke = colour(hue(group));
  return svg("circle", { cx, cy, r: 4.5, stroke, "stroke-width": 1.5, fill: missing ? "var(--paper)" : stroke });
}

/** The ends of all intervals. */
function ends(all) {
  return all.flatMap(({ mean, half }) => [mean - (half ?? 0), mean + (half ?? 0)]);
}

function cut(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** The mark of a group: it shows the group's figures, and opens its runs. */
function groupMark({ group, mean, half, missing }, metric, extra, ...inside) {
  const shown = spread(metric, mean, half);
  const lines = [group.label, `${study.metrics[metric].title} ${shown}`, extra];
  if (missing) lines.push(`without ${missing} of the categories: not comparable`);
  const label = `${lines.join(", ")}; open its runs`;
  const node = svg("g", { class: "mark", role: "button", "aria-label": label }, ...inside);
  tell(node, lines, () => openRuns([group], state.category, metric, shown));
  return node;
}

/** Each group's mean and interval, a row each, and its single runs as small circles below the line. */
function groupPlot() {
  const caption = "Dots and lines: mean and 95% interval; hollow where a category is missing, so that it does not "
    + "compare. Small circles: single runs. Dashed: what the field quotes.";
  return plot("Groups", caption, [], (width) => {
    const metric = state.metric;
    const { title, reference, share } = study.metrics[metric];
    const all = measured(metric);
    if (!all.length) return nothing(width, "no values of what is chosen");
    const rows = all.slice(0, MOST_GROUPS);
    const row = rowShape(rows.map((one) => one.group), width);
    const box = { ...row.box, top: 6 };
    box.bottom = box.top + row.height * rows.length;
    const runs = rows.map((one) => singles(one.group, metric));
    const known = [...ends(rows), ...runs.flat().map((single) => single.value), reference];
    const x = scale(known.filter((value) => value !== null), box.left, box.right, { within: share ? SHARE : null });
    const at = reference === null ? 0 : x.at(reference);
    const rule = svg("line", { class: "reference", x1: at, x2: at, y1: box.top, y2: box.bottom });
    const marks = rows.map((one, place) => groupRow(one, runs[place], x, box, box.top + row.height * place, row));
    const axis = bottom(x, box, `${title}, ${over()}`);
    const nodes = [axis, ...(reference === null ? [] : [rule]), ...marks];
    return [box.bottom + 44, nodes, partly(rows.length, all.length, "groups")];
  });
}

/** How rows of groups stand: left and right end of the plot, the height of a row, where its line and its name are. */
function rowShape(groups, width) {
  const narrow = width < 560; // then names stand above their lines
  const names = Math.max(...groups.map((group) => group.label.length)) * LETTER;
  const box = { left: narrow ? 8 : Math.min(260, 14 + names), right: width - 14 };
  const height = narrow ? 44 : 30;
  const line = (top) => top + (narrow ? 25 : height / 2 - 3);
  const name = (group, top) => {
    const place = narrow ? { x: box.left, y: top + 13 } : { x: box.left - 10, y: line(top) + 4, "text-anchor": "end" };
    const room = narrow ? box.right - box.left : box.left - 10;
    return svg("text", { class: "name", ...place }, cut(group.label, Math.floor(room / LETTER)));
  };
  return { box, height, line, name };
}

function singles(group, metric) {
  return group.runs
    .flatMap((place) => {
      const run = study.runs[place];
      return run.categories.map((category) => ({ run, category, value: figure(run, category, metric)[0] }));
    })
    .filter((one) => one.value !== null && categoryShown(one.category));
}

function groupRow(one, runs, x, box, top, row) {
  const y = row.line(top);
  const stroke = colour(hue(one.group));
  const [low, high] = ends([one]).map((value) => Math.max(box.left, Math.min(box.right, x.at(value))));
  const mark = groupMark(one, state.metric, over(),
    svg("rect", { class: "hit", x: 0, y: top, width: box.right, height: row.height }),
    row.name(one.group, top),
    svg("line", { stroke, "stroke-width": 2, x1: low, x2: high, y1: y, y2: y }),
    dot(one, x.at(one.mean), y));
  return svg("g", {}, mark, ...runs.map((single) => singleRun(single, one.group, stroke, x.at(single.value), y + 10)));
}

function singleRun({ run, category, value }, group, stroke, cx, cy) {
  const node = svg("circle", { class: "single", stroke, cx, cy, r: 2.5 });
  const title = `${study.metrics[state.metric].title} ${written(state.metric, value)}`;
  const which = `${study.categories[category]}, seed ${run.seed}, run ${run.signature}`;
  tell(node, [group.label, title, which], () => openRun(run));
  return node;
}

/** Quality against latency, with the line of the groups that no other beats in both. */
function latencyPlot() {
  const latency = study.metrics.findIndex((metric) => metric.name === "latency_ms");
  const quality = study.charted.find((metric) => metric !== latency);
  const caption = "Upright lines: 95% intervals. The dotted line joins the groups that none beats in both.";
  return plot("Quality against latency", caption, [], (width) => {
    if (study.tradeoffs.unlike) return nothing(width, study.tradeoffs.unlike);
    const metric = state.metric === latency ? quality : state.metric;
    const { drawn, left_out } = study.tradeoffs.metrics[metric][scope()];
    const lacking = left_out.filter(([place]) => groupShown(study.groups[place]))
      .map(([place, reason]) => `${study.groups[place].label} (${reason})`);
    const said = lacking.length ? `${study.tradeoffs.why}: ${lacking.join(", ")}.` : "";
    const all = measured(metric)
      .map((one) => ({ ...one, place: study.groups.indexOf(one.group) }))
      .filter((one) => drawn.includes(one.place))
      .map((one) => ({ ...one, time: study.estimates[latency][0][one.place][0] }));
    if (!all.length) return [...nothing(width, "no group of what is chosen compares in both"), said];
    const box = { ...BOX, right: width - 14 };
    const x = scale(all.map((one) => one.time), box.left, box.right, { pad: 0.12 });
    const y = scale(ends(all), box.bottom, box.top, { within: SHARE });
    const front = pareto(all, study.metrics[metric].higher !== false);
    const steps = front.flatMap((one, place) => [
      ...(place ? [[x.at(one.time), y.at(front[place - 1].mean)]] : []),
      [x.at(one.time), y.at(one.mean)],
    ]);
    const path = svg("path", { class: "front", d: line(steps) });
    const spots = all.map((one) => ({ text: cut(one.group.label, 26), cx: x.at(one.time), cy: y.at(one.mean) }));
    const names = all.length <= MOST_NAMED ? namePlaces(spots, (box.left + box.right) / 2) : [];
    const marks = all.map((one, place) => latencyMark(one, metric, latency, spots[place], names[place], y, box));
    const axes = [left(y, box, `${study.metrics[metric].title}, ${over()}`), bottom(x, box, "latency, ms per image")];
    return [box.bottom + 44, [...axes, path, ...marks], said];
  });
}

function latencyMark(one, metric, latency, { text, cx, cy }, name, y, box) {
  const stroke = colour(hue(one.group));
  const [low, high] = ends([one]).map((value) => Math.max(box.top, Math.min(box.bottom, y.at(value))));
  return groupMark(one, metric, `${study.metrics[latency].title} ${written(latency, one.time)}`,
    svg("line", { stroke, "stroke-width": 1.5, x1: cx, x2: cx, y1: low, y2: high }),
    svg("circle", { class: "hit", cx, cy, r: 14 }),
    dot(one, cx, cy),
    name ? svg("text", { class: "name", ...name }, text) : null);
}

/** Where the name of each dot stands, towards the `middle`: above it or below, or null where others are in the way. */
function namePlaces(spots, middle) {
  const taken = [];
  return spots.map(({ text, cx, cy }) => {
    const right = cx > middle;
    const from = right ? cx - 9 - text.length * LETTER : cx + 9;
    const to = from + text.length * LETTER;
    const y = [cy - 7, cy + 15, cy - 21, cy + 29].find((one) => taken.every((other) => (
      from > other.to || to < other.from || Math.abs(one - other.y) > 13)));
    if (y === undefined) return null;
    taken.push({ from, to, y });
    return { x: right ? to : from, y, "text-anchor": right ? "end" : null };
  });
}

/** The groups that no other beats in both, the fastest first. */
function pareto(all, higher) {
  const sign = higher ? 1 : -1;
  const front = [];
  for (const one of [...all].sort((a, b) => a.time - b.time || sign * (b.mean - a.mean))) {
    if (!front.length || sign * (one.mean - front.at(-1).mean) > 0) front.push(one);
  }
  return front;
}
