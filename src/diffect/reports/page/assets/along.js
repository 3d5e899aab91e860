// The plot along the one axis that holds numbers.

/** Each combination of the other axes as a line of its groups; null where no axis holds numbers, or several do. */
function alongPlot() {
  if (!study.along) return null;
  const { axis, log, apart, ticks: all, lines } = study.along;
  const places = alongHues();
  const caption = "Dots and upright lines: mean and 95% interval; hollow where a category is missing, so that it does "
    + `not compare.${apart ? " All, in the end, is apart from the scale." : ""}`;
  const names = lines.map(({ name }, order) => [name, places[order]]);
  const title = study.axes[axis] + (log ? " (log scale)" : "");
  return plot(`Along ${study.axes[axis]}`, caption, [legend(names)], (width) => {
    const metric = state.metric;
    const known = new Map(measured(metric).map((one) => [study.groups.indexOf(one.group), one]));
    const drawn = lines
      .map(({ groups }, order) => ({ place: places[order], points: groups.map((group) => known.get(group) ?? null) }))
      .filter(({ points }) => points.some(Boolean));
    if (!drawn.length) return nothing(width, "no values of what is chosen");
    const box = { ...BOX, right: width - 14 };
    const x = scale(all.map(([place]) => place), box.left, box.right);
    const within = study.metrics[metric].share ? SHARE : null;
    const y = scale(ends([...known.values()]), box.bottom, box.top, { within });
    const nudge = Math.min(3, 24 / drawn.length); // side by side, not on top of each other
    const curves = drawn.map(({ place, points }, order) => {
      const moved = points.map((one, tick) => (
        one && { ...one, cx: x.at(all[tick][0]) + nudge * (order - (drawn.length - 1) / 2) }));
      return alongLine(moved, place, metric, y, box);
    });
    const shown = all.filter(([, , named]) => named);
    const text = new Map(shown.map(([place, name]) => [place, name]));
    const marked = { at: x.at, ticks: [...text.keys()] };
    const axes = [left(y, box, `${study.metrics[metric].title}, ${over()}`),
      bottom(marked, box, title, (tick) => text.get(tick))];
    return [box.bottom + 44, [...axes, ...curves]];
  });
}

/** The line, dotted on the way to all, and on it a mark for each group; null parts it. */
function alongLine(points, place, metric, y, box) {
  const path = points.map((one) => one && [one.cx, y.at(one.mean)]);
  const end = study.along.apart ? -1 : undefined;
  const stroke = colour(place);
  const solid = svg("path", { class: "line", d: line(path.slice(0, end)), stroke, "stroke-dasharray": dashes(place) });
  const last = end && svg("path", { class: "line", d: line(path.slice(-2)), stroke, "stroke-dasharray": "1 5" });
  const marks = points.filter(Boolean).map((one) => {
    const [low, high] = ends([one]).map((value) => Math.max(box.top, Math.min(box.bottom, y.at(value))));
    const spot = { cx: one.cx, cy: y.at(one.mean) };
    return groupMark(one, metric, over(),
      svg("line", { stroke, "stroke-width": 1.5, x1: one.cx, x2: one.cx, y1: low, y2: high }),
      svg("circle", { class: "hit", ...spot, r: 10 }),
      svg("circle", { ...spot, r: 4, stroke, "stroke-width": 1.5, fill: one.missing ? "var(--paper)" : stroke }));
  });
  return svg("g", {}, solid, last || null, ...marks);
}

/** The colour of each line: that of its groups in the other plots where each line has its own, or else its place. */
function alongHues() {
  const found = study.along.lines.map(({ groups }) => (
    new Set(groups.filter((place) => place !== null).map((place) => hue(study.groups[place])))));
  const own = found.every(({ size }) => size === 1) && new Set(found.map((theirs) => [...theirs][0])).size === found.length;
  return found.map((theirs, order) => (own ? [...theirs][0] : order));
}
