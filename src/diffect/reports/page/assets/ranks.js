// Critical differences: the groups by their average rank, and bars that join those that are not shown to differ.

const BAR = 9; // pixels from one bar to the next

/** The study's ranks, a row per group; null where there are too few blocks or groups for a test. */
function rankPlot() {
  const ranking = study.ranking;
  if (!ranking) return null;
  const caption = `Average ranks by ${ranking.metric} among all ${ranking.groups.length} groups, over ${ranking.over}; `
    + "1 is the best. Bars on the right join groups that are not shown to differ (Friedman's test, then Nemenyi's critical "
    + "difference).";
  return plot("Critical differences", caption, [], (width) => {
    const all = ranking.groups.map((place, order) => ({ group: study.groups[place], order, rank: ranking.ranks[order] }));
    const shown = all.filter((one) => groupShown(one.group));
    if (!shown.length) return nothing(width, "no group of what is chosen is ranked");
    const rows = shown.slice(0, MOST_GROUPS);
    const row = rowShape(rows.map((one) => one.group), width);
    const box = { ...row.box, top: 34, right: width - 14 - BAR * ranking.cliques.length };
    box.bottom = box.top + row.height * rows.length;
    const last = ranking.groups.length;
    const x = scale([1, Math.max(last, 1 + ranking.critical)], box.left + 6, box.right - 8, { pad: 0 });
    const marks = rows.map((one, place) => rankRow(one, x, box, box.top + row.height * place, row));
    const bars = ranking.cliques.flatMap(([first, end], place) => clique(rows, first, end, place, box, row));
    const nodes = [bottom(x, box, "average rank"), criticalDifference(ranking.critical, x), ...marks, ...bars];
    return [box.bottom + 44, nodes, partly(rows.length, shown.length, "groups")];
  });
}

function rankRow({ group, rank }, x, box, top, row) {
  const stroke = colour(hue(group));
  const y = row.line(top);
  const lines = [group.label, `average rank ${rank.toFixed(2)}`];
  const node = svg("g", { class: "mark", role: "button", "aria-label": `${lines.join(", ")}; open its runs` },
    svg("rect", { class: "hit", x: 0, y: top, width: box.right, height: row.height }),
    row.name(group, top),
    svg("circle", { cx: x.at(rank), cy: y, r: 4.5, fill: stroke }));
  tell(node, lines, () => openRuns([group], null, study.charted[0], ""));
  return node;
}

/** The bar of the groups from the place `first` to `end` of the ranking, as far as they are shown. */
function clique(rows, first, end, place, box, row) {
  const members = rows.map((one, order) => [one, order]).filter(([{ order }]) => order >= first && order <= end);
  if (members.length < 2) return [];
  const at = box.right + 8 + BAR * place;
  const [y1, y2] = [members[0], members.at(-1)].map(([, order]) => row.line(box.top + row.height * order));
  return [svg("line", { class: "clique", x1: at, x2: at, y1: y1 - 5, y2: y2 + 5 })];
}

/** How far two ranks must lie apart, as a length above the rows. */
function criticalDifference(critical, x) {
  const [from, to] = [x.at(1), x.at(1 + critical)];
  return svg("g", {},
    svg("path", { class: "length", d: `M${from} 16v8m0 -4H${to}m0 -4v8` }),
    svg("text", { x: from, y: 11 }, `critical difference ${critical.toFixed(2)}`));
}
