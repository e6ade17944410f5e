// A learning curve as inline SVG.
import { element } from "./elements.js";

const WIDTH = 480;
const HEIGHT = 190;
const MARGIN = { left: 46, right: 12, top: 10, bottom: 24 };

/** Round steps over a range: [first, ..., last] with at most about `count` of them. */
function ticks(low, high, count = 4) {
  const raw = (high - low || 1) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= raw);
  const made = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step)
    made.push(Number(value.toPrecision(12)));
  return made;
}

const short = (value) =>
  Math.abs(value) >= 1e6 ? `${value / 1e6}M` : Math.abs(value) >= 1000 ? `${value / 1000}k` : String(value);

/**
 * @param points [[x, y], ...]; those whose y is null are left out.
 * @param options title, and format(y); `range` [low, high] fixes the y axis.
 */
export function curve(points, { title, format, range }) {
  const known = points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y) && y !== null);
  const last = known.at(-1);
  const caption = element("figcaption", {}, title, element("span", {}, last ? format(last[1]) : "nothing yet"));
  if (!known.length) return element("figure", {}, caption);
  const xs = known.map(([x]) => x);
  const ys = known.map(([, y]) => y);
  const [left, right] = [Math.min(0, ...xs), Math.max(...xs, 1)];
  let [low, high] = range ?? [Math.min(...ys), Math.max(...ys)];
  if (low === high) [low, high] = [low - 1, high + 1];
  const pad = range ? 0 : 0.08 * (high - low);
  const across = (x) => MARGIN.left + ((x - left) / (right - left)) * (WIDTH - MARGIN.left - MARGIN.right);
  const up = (y) =>
    HEIGHT - MARGIN.bottom - ((y - low + pad) / (high - low + 2 * pad)) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const spoken = `${title}: from ${format(ys[0])} to ${format(last[1])} over ${short(right)} steps.`;
  return element(
    "figure",
    {},
    caption,
    element(
      "svg:svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": spoken },
      ...ticks(low, high).flatMap((y) => [
        element("svg:line", { class: "grid", x1: MARGIN.left, x2: WIDTH - MARGIN.right, y1: up(y), y2: up(y) }),
        element("svg:text", { x: MARGIN.left - 6, y: up(y) + 4, "text-anchor": "end" }, format(y)),
      ]),
      ...ticks(left, right).map((x) =>
        element("svg:text", { x: across(x), y: HEIGHT - 6, "text-anchor": "middle" }, short(x)),
      ),
      element("svg:polyline", {
        class: "line",
        points: known.map(([x, y]) => `${across(x).toFixed(1)},${up(y).toFixed(1)}`).join(" "),
      }),
      element("svg:circle", { class: "dot", r: 3.5, cx: across(last[0]), cy: up(last[1]) }),
    ),
  );
}
