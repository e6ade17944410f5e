// Several clips: number keys, taps or dragging put them in order, the best first; Enter confirms.
import { Player } from "../clips.js";
import { clipFrame, element, fitClips, keyButton } from "../elements.js";
import { Question } from "./question.js";

const FEWEST_PIXELS = 8; // a pointer that moved less was a tap

/** The place of the order that a pointer is over, if any. */
const placeUnder = (event) =>
  document.elementsFromPoint(event.clientX, event.clientY).find((under) => under.dataset?.place !== undefined);

export class RankingQuestion extends Question {
  static keys = [
    ["1 – 5", "that clip is the next best; again takes it out"],
    ["Enter", "confirm the order"],
    ["↓", "cannot tell: skip"],
  ];

  static refusals = {
    ArrowLeft: "The number keys put the clips in order, the best first.",
    ArrowRight: "The number keys put the clips in order, the best first.",
    ArrowUp: "The number keys put the clips in order, the best first.",
  };

  static asked(query) {
    return `${query.clips.length} clips to put in order.`;
  }

  constructor(query, films, host) {
    super(query, films, host);
    this.count = films.length;
    this.places = Array(this.count).fill(null);
    this.placedItself = null; // the clip that was left over for the last place, until it is typed as well
    const clips = films.map((film, position) =>
      clipFrame(film, String(position + 1), `Clip ${position + 1}`, query.descriptions[position], () =>
        this.toggle(position),
      ),
    );
    this.frames = clips.map((clip) => clip.frame);
    this.badges = this.frames.map((frame) => {
      frame.classList.add("draggable");
      return frame.appendChild(element("span", { class: "badge", "aria-hidden": "true" }));
    });
    this.player = new Player(
      clips.map((clip) => clip.video),
      query.frames_per_second,
    );
    this.slots = this.places.map((_, place) => element("li", { class: "place", "data-place": place }));
    const grid = element("div", { class: `clips ${this.count > 2 ? "many" : ""}` }, ...this.frames);
    fitClips(
      grid,
      films.map((_, position) => position + 1),
    );
    this.element = element(
      "div",
      { class: "ranking" },
      grid,
      element("ol", { class: "places", "aria-label": "Your order, the best first" }, ...this.slots),
    );
    this.confirmButton = keyButton("Enter", "This is my order", () => this.confirm(), { class: "strong" });
    this.choices = [this.confirmButton, keyButton("↓", "Cannot tell", () => this.skip())];
    this.frames.forEach((frame, position) => this.#makeDraggable(frame, () => position));
    this.slots.forEach((slot, place) => this.#makeDraggable(slot, () => this.places[place]));
    this.#show();
  }

  get spoken() {
    return this.query.descriptions.map((text, position) => `Clip ${position + 1}: ${text}`).join(" ");
  }

  keyDown(event) {
    const position = Number(event.key) - 1;
    if (Number.isInteger(position) && position >= 0 && position < this.count) {
      if (!event.repeat) this.toggle(position);
    } else if (/^[1-9]$/.test(event.key)) {
      this.host.note(`There are only ${this.count} clips.`);
    } else if (event.key === "Enter" && !event.target.closest?.("button:not(.clip)")) {
      if (!event.repeat) this.confirm();
    } else if (event.key === "ArrowDown") {
      if (!event.repeat) this.skip();
    } else {
      return false;
    }
    return true;
  }

  /** Put a clip into the best place that is free, or take it out of its own. */
  toggle(position) {
    const at = this.places.indexOf(position);
    if (position === this.placedItself) {
      // Who types the whole order types what stands there already.
      this.placedItself = null;
      this.host.announce(`${this.#spoken()} Enter confirms it.`);
      return;
    }
    if (at >= 0) {
      this.places[at] = null;
      this.host.note(`Clip ${position + 1} is taken out of the order; its key puts it in again.`);
    } else this.places[this.places.indexOf(null)] = position;
    this.#fillLast(at < 0);
    this.#show();
    if (at < 0) this.host.announce(this.#spoken());
  }

  put(position, place) {
    const from = this.places.indexOf(position);
    const there = this.places[place];
    if (from >= 0) this.places[from] = there;
    else if (there !== null && this.places.includes(null)) this.places[this.places.indexOf(null)] = there;
    this.places[place] = position;
    this.#fillLast(true);
    this.#show();
    this.host.announce(this.#spoken());
  }

  confirm() {
    if (this.places.includes(null)) this.host.note(this.#missing());
    else this.host.submit({ payload: { ranking: [...this.places] } }, "ranked");
  }

  #fillLast(wanted) {
    const left = this.#open();
    this.placedItself = null;
    if (wanted && left.length === 1 && this.count > 1) {
      [this.placedItself] = left;
      this.places[this.places.indexOf(null)] = this.placedItself;
    }
  }

  /** The clips without a place. */
  #open() {
    return this.frames.map((_, position) => position).filter((position) => !this.places.includes(position));
  }

  #missing() {
    const open = this.#open().map((position) => position + 1);
    const clips =
      open.length === 1 ? `Clip ${open[0]} has` : `Clips ${open.slice(0, -1).join(", ")} and ${open.at(-1)} have`;
    return `${clips} no place yet: type ${open.length === 1 ? "its number" : "their numbers, the best first"}.`;
  }

  #spoken() {
    return `Order: ${this.places.map((position) => (position === null ? "open" : `clip ${position + 1}`)).join(", ")}.`;
  }

  #show() {
    this.places.forEach((position, place) => {
      const name = place === 0 ? "best" : place === this.count - 1 ? "worst" : `${place + 1}.`;
      this.slots[place].classList.toggle("filled", position !== null);
      this.slots[place].replaceChildren(
        element(
          "span",
          {},
          position === null ? name : element("b", {}, `Clip ${position + 1}`),
          position === null ? "" : name,
        ),
      );
    });
    this.frames.forEach((frame, position) => {
      const place = this.places.indexOf(position);
      this.badges[position].textContent = place < 0 ? "" : `${place + 1}.`;
      frame.classList.toggle("chosen", place >= 0);
      frame.setAttribute("aria-label", `Clip ${position + 1}${place < 0 ? "" : `, place ${place + 1}`}`);
      frame.setAttribute("aria-pressed", place >= 0);
    });
    // It can be pressed all the same, and says then which clips are missing.
    this.confirmButton.setAttribute("aria-disabled", this.places.includes(null));
  }

  #makeDraggable(handle, positionOf) {
    handle.addEventListener("pointerdown", (down) => {
      const position = positionOf();
      if (position === null) return;
      let moved = false;
      const move = (event) => {
        moved ||= Math.hypot(event.clientX - down.clientX, event.clientY - down.clientY) > FEWEST_PIXELS;
        if (!moved) return;
        this.frames[position].classList.add("dragged");
        const over = placeUnder(event);
        this.slots.forEach((slot) => slot.classList.toggle("over", slot === over));
      };
      const finish = (event) => {
        removeEventListener("pointermove", move);
        removeEventListener("pointerup", finish);
        removeEventListener("pointercancel", finish);
        this.frames[position].classList.remove("dragged");
        this.slots.forEach((slot) => slot.classList.remove("over"));
        const over = moved && event.type === "pointerup" ? placeUnder(event) : undefined;
        if (moved)
          handle.addEventListener(
            "click",
            (click) => {
              click.stopImmediatePropagation();
              click.preventDefault();
            },
            { capture: true, once: true },
          );
        setTimeout(() => {
          if (over) this.put(position, Number(over.dataset.place));
        });
      };
      addEventListener("pointermove", move);
      addEventListener("pointerup", finish);
      addEventListener("pointercancel", finish);
    });
  }
}
