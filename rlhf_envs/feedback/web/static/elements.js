// Small functions that make elements.

/** An element: attributes by name ("class", "aria-label", ...), "on..." functions as listeners, then its children. */
export function element(tag, attributes = {}, ...children) {
  const made = tag.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A button with the key that does the same; where there is little room it shows a sign instead of its words. */
export function keyButton(key, text, onclick, { sign, ...attributes } = {}) {
  const words = sign
    ? [element("span", { class: "words" }, text), element("span", { class: "sign", "aria-hidden": "true" }, sign)]
    : [text];
  const label = sign ? { "aria-label": text } : {};
  return element(
    "button",
    { type: "button", onclick, ...label, ...attributes },
    key ? element("kbd", { "aria-hidden": "true" }, key) : null,
    key ? " " : null,
    ...words,
  );
}

let described = 0;

/** A clip in a frame, to be clicked or not; `description` says in words what happens in it. */
export function clipFrame(address, tag, label, description, onclick) {
  const video = element("video", {
    src: address,
    muted: true,
    playsinline: true,
    preload: "auto",
    disablepictureinpicture: true,
    tabindex: "-1",
    "aria-hidden": "true",
  });
  video.muted = true;
  described += 1;
  const id = `described-${described}`;
  const frame = element(
    onclick ? "button" : "div",
    onclick
      ? { class: "clip", type: "button", "aria-label": label, "aria-describedby": id, onclick }
      : { class: "clip", role: "img", "aria-label": `${label}: ${description}` },
    tag ? element("span", { class: "tag", "aria-hidden": "true" }, tag) : null,
    video,
    onclick ? element("span", { class: "unseen", id }, description) : null,
  );
  return { frame, video };
}

const ASPECT = 1.5; // of every film

/**
 * Keep clips in a grid as large as there is room for.
 *
 * @param grid holds them.
 * @param columns how many may stand side by side, to choose from.
 */
export function fitClips(grid, columns) {
  const fit = () => {
    const { clientWidth, clientHeight } = grid;
    if (!clientWidth || !clientHeight) return;
    const gap = parseFloat(getComputedStyle(grid).columnGap) || 0;
    const above = grid.querySelector(".tag")?.offsetHeight ?? 0;
    const width = (across) => {
      const rows = Math.ceil(grid.children.length / across);
      const room = (clientHeight - gap * (rows - 1)) / rows - above - 4;
      return Math.floor(Math.min((clientWidth - gap * (across - 1)) / across, room * ASPECT));
    };
    const best = columns.reduce((one, other) => (width(other) > width(one) ? other : one));
    grid.style.setProperty("--across", best);
    grid.style.setProperty("--clip-width", `${Math.max(width(best), 60)}px`);
  };
  new ResizeObserver(fit).observe(grid);
}

/** What stands in place of clips: a heading and a sentence. */
export const message = (heading, sentence, level = "h2") =>
  element("div", { class: "idle" }, heading ? element(level, {}, heading) : null, element("p", {}, sentence));

const narrow = matchMedia("(max-width: 720px) and (orientation: portrait)");

/** Whether the two clips of a comparison stand one above the other. */
export const isStacked = () => narrow.matches;
export const onStackedChange = (listener) => narrow.addEventListener("change", listener);
export const sideName = (side) => (isStacked() ? { left: "top", right: "bottom" }[side] : side);
export const capital = (text) => text[0].toUpperCase() + text.slice(1);
