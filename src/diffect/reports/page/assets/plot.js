// A plot: a figure with its own size, scales and axes, redrawn when the page's width or choices change.

const BOX = { left: 44, top: 26, bottom: 300 }; // where the axes stand; the right end follows the width
const SHARE = [-0.005, 1.005]; // the ends of an axis of shares, which no interval's end moves

/** Ticks at 1, 2 or 5 times a power of ten, about `count` of them; two at least, for one alone is no scale. */
function ticks(low, high, count) {
  const raw = (high - low || 1) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= raw);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  if (last - first < 1 && count < 64) return ticks(low, high, 2 * count);
  return Array.from({ length: last - first + 1 }, (_, place) => Number(((first + place) * step).toPrecision(12)));
}

/** Ticks of a logarithmic axis: powers of ten, with 2 and 5 times where those are few. */
function logTicks(low, high) {
  const from = Math.floor(Math.log10(low));
  const decades = Array.from({ length: Math.ceil(Math.log10(high)) - from + 1 }, (_, place) => from + place);
  const factors = Math.log10(high / low) < 2.2 ? [1, 2, 5] : [1];
  const all = decades.flatMap((decade) => factors.map((one) => Number((one * 10 ** decade).toPrecision(3))));
  const inside = all.filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
  return inside.length > 1 ? inside : ticks(low, high, 4).filter((tick) => tick > 0);
}

/** A scale from `values` to pixels `from` to `to`, widened by a share on both sides; `log` needs positive values. */
function scale(values, from, to, { log = false, pad = 0.05, within = null } = {}) {
  const forward = log ? Math.log10 : (value) => value;
  let low = forward(Math.min(...values));
  let high = forward(Math.max(...values));
  if (!(high - low > 1e-9)) [low, high] = [low - (log ? 0.3 : 0.01), high + (log ? 0.3 : 0.01)];
  const room = pad * (high - low);
  [low, high] = [low - room, high + room];
  if (within) [low, high] = [Math.max(low, within[0]), Math.min(high, within[1])];
  const at = (value) => from + (forward(value) - low) / (high - low) * (to - from);
  const ends = log ? [10 ** low, 10 ** high] : [low, high];
  const count = Math.max(2, Math.round(Math.abs(to - from) / (from < to ? 90 : 45)));
  return { at, ticks: log ? logTicks(...ends) : ticks(...ends, count) };
}

function short(value) {
  return String(Number(value.toPrecision(6))).replace("-", "\u2212");
}

/** The axis at the bottom, with lines up through the plot and a title; `text` writes a tick. */
function bottom(x, box, title, text = short) {
  const marks = x.ticks.map((tick) => svg("g", { transform: `translate(${x.at(tick)} 0)` },
    svg("line", { class: "grid", y1: box.top, y2: box.bottom }),
    svg("text", { y: box.bottom + 16, "text-anchor": "middle" }, text(tick))));
  const middle = { x: (box.left + box.right) / 2, y: box.bottom + 34, "text-anchor": "middle" };
  return svg("g", { class: "axis" }, ...marks, svg("text", { class: "title", ...middle }, title));
}

/** The axis at the left; its title stands above it, where it can be read without turning the head. */
function left(y, box, title) {
  const marks = y.ticks.map((tick) => svg("g", { transform: `translate(0 ${y.at(tick)})` },
    svg("line", { class: "grid", x1: box.left, x2: box.right }),
    svg("text", { x: box.left - 6, dy: "0.32em", "text-anchor": "end" }, short(tick))));
  return svg("g", { class: "axis" }, ...marks, svg("text", { class: "title", x: 0, y: 11 }, title));
}

/** A path through points [x, y] in pixels; null parts it. */
function line(points) {
  let pen = "M";
  return points.map((point) => {
    if (!point) {
      pen = "M";
      return "";
    }
    const step = `${pen}${point[0].toFixed(1)} ${point[1].toFixed(1)}`;
    pen = "L";
    return step;
  }).join("");
}

/** What a plot says instead, as `draw` gives it. */
function nothing(width, text) {
  return [60, [svg("text", { class: "title", x: width / 2, y: 34, "text-anchor": "middle" }, text)]];
}

/**
 * A figure whose picture `draw(width)` gives as [height, nodes, note], where a node with the class `mark` can be
 * reached with the arrow keys; `controls` stand beside the title.
 */
function plot(title, caption, controls, draw) {
  const stage = el("div", { class: "stage" });
  const note = el("p", { class: "hint" });
  const node = el("figure", { class: "plot" },
    el("div", { class: "head" }, el("h3", {}, title), ...controls.filter(Boolean)), stage,
    el("figcaption", {}, caption), note);
  let width = 0;
  const render = () => {
    if (!width) return;
    hideTip();
    const [height, nodes, said] = draw(width);
    const size = { viewBox: `0 0 ${width} ${height}`, width, height };
    const picture = svg("svg", { ...size, role: "group", "aria-label": title }, ...nodes);
    const marks = () => [...picture.querySelectorAll(".mark")];
    const settle = roam(picture, marks, (mark, key) => {
      const all = marks();
      return all[all.indexOf(mark) + (key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1)];
    });
    settle();
    stage.replaceChildren(picture);
    note.textContent = said ?? "";
  };
  new ResizeObserver(() => {
    if (Math.round(stage.clientWidth) === width) return;
    width = Math.round(stage.clientWidth);
    render();
  }).observe(stage);
  view(render);
  return node;
}

/** What the colours mean; nothing where there is one, or so many that a line's name shows only when it is pointed at. */
function legend(names) {
  if (names.length < 2 || names.length > 16) return null;
  const sample = (place) => (
    svg("line", { x2: 22, y1: 5, y2: 5, stroke: colour(place), "stroke-dasharray": dashes(place) }));
  return el("ul", { class: "legend" }, ...names.map(([name, place]) => (
    el("li", {}, svg("svg", { width: 22, height: 10, "aria-hidden": "true" }, sample(place)), name))));
}
