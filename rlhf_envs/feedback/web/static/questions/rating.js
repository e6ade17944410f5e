// One clip, rated while it plays: the slider's height at each frame is the rating of that step.
import { Player } from "../clips.js";
import { clipFrame, element, keyButton } from "../elements.js";
import { Question } from "./question.js";

const USUAL_SPEED = 0.5;
const LONGEST_TICK = 50; // milliseconds: where the browser was held up, the slider does not jump
const RATE = 1.6; // of the scale's length of 2, per second that a key is held

export class RatingQuestion extends Question {
  static ownSpeed = true;
  static keys = [
    ["Space", "start, or rate again"],
    ["↑ ↓", "hold to raise or lower"],
    ["Enter", "keep the rating"],
    ["S", "cannot tell: skip"],
  ];

  static refusals = {
    ArrowLeft: "Hold ↑ or ↓ while the clip plays.",
    ArrowRight: "Hold ↑ or ↓ while the clip plays.",
  };

  constructor(query, films, host) {
    super(query, films, host);
    this.steps = query.steps;
    this.ratings = [];
    this.held = 0;
    this.state = "waiting";
    const { frame, video } = clipFrame(films[0], "", "The clip to rate", query.descriptions[0]);
    this.video = video;
    this.player = new Player([video], query.frames_per_second, { loop: false, onEnd: () => this.#finish() });
    this.player.setSpeed(USUAL_SPEED);
    this.slider = element("input", {
      type: "range",
      min: "-1",
      max: "1",
      step: "any",
      value: "0",
      "aria-label": "How good is what you see now?",
      "aria-orientation": "vertical",
    });
    this.shown = element("span", { class: "value", "aria-hidden": "true" }, "0.0");
    this.trace = element("svg:polyline", { class: "trace" });
    this.now = element("svg:line", { class: "now", y1: -1, y2: 1, x1: 0, x2: 0 });
    const chart = element(
      "svg:svg",
      {
        viewBox: `-0.5 -1.1 ${this.steps} 2.2`,
        preserveAspectRatio: "none",
        role: "img",
        "aria-label": "Your ratings so far",
      },
      element("svg:line", { class: "zero", x1: -0.5, x2: this.steps, y1: 0, y2: 0 }),
      this.trace,
      this.now,
    );
    this.element = element(
      "div",
      { class: "rating" },
      frame,
      element("div", { class: "scale" }, element("span", {}, "good"), this.slider, element("span", {}, "bad")),
      chart,
      this.shown,
    );
    this.startButton = keyButton("Space", "Start", () => this.start(), { class: "strong" });
    this.confirmButton = keyButton("Enter", "Keep this rating", () => this.confirm(), { "aria-disabled": "true" });
    this.choices = [this.startButton, this.confirmButton, keyButton("S", "Cannot tell", () => this.skip())];
  }

  /** Nothing plays before the annotator is ready to rate. */
  present() {
    this.host.announce("One clip to rate. Press Space to start it, and hold Up or Down while it plays.");
  }

  start() {
    this.state = "playing";
    this.ratings = [];
    this.slider.value = 0;
    this.startButton.lastChild.textContent = "Rate again";
    this.startButton.classList.remove("strong");
    this.confirmButton.classList.remove("strong");
    this.confirmButton.setAttribute("aria-disabled", "true");
    this.player.replay();
    this.lastTick = performance.now();
    cancelAnimationFrame(this.tick);
    this.tick = requestAnimationFrame((now) => this.#follow(now));
  }

  resume() {
    if (this.state === "playing") this.start();
  }

  keyDown(event) {
    if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      this.held = event.key === "ArrowUp" ? 1 : -1;
      if (this.state === "waiting" && !event.repeat)
        this.host.note("Space starts the clip; hold ↑ or ↓ while it plays.");
      if (this.state === "done" && !event.repeat)
        this.host.note("The clip is over: Enter keeps this rating, Space rates again.");
    } else if (/^[1-9]$/.test(event.key)) return false;
    else if (event.key === "Enter" && !event.target.closest?.("button")) this.confirm();
    else if (event.key === "s" || event.key === "S") this.skip();
    else return false;
    return true;
  }

  keyUp(event) {
    if (event.key === "ArrowUp" || event.key === "ArrowDown") this.held = 0;
  }

  confirm() {
    if (this.state === "waiting") this.host.note("Rate the clip first: Space starts it.");
    else if (this.state === "playing") this.host.note("Rate the clip to its end first.");
    else
      this.host.submit({ payload: { ratings: this.ratings.map((value) => Math.round(value * 1000) / 1000) } }, "rated");
  }

  stop() {
    super.stop();
    cancelAnimationFrame(this.tick);
  }

  #follow(now) {
    const tick = Math.min(Math.max(now - this.lastTick, 0), LONGEST_TICK);
    const value = Math.min(Math.max(Number(this.slider.value) + (this.held * RATE * tick) / 1000, -1), 1);
    this.lastTick = now;
    this.slider.value = value;
    this.#record(value, Math.min(Math.floor(this.video.currentTime / this.player.frame), this.steps - 1));
    if (this.state === "playing") this.tick = requestAnimationFrame((later) => this.#follow(later));
  }

  #record(value, step) {
    while (this.ratings.length <= step) this.ratings.push(value);
    this.ratings[step] = value;
    this.shown.textContent = (value >= 0 ? "+" : "−") + Math.abs(value).toFixed(1);
    this.trace.setAttribute("points", this.ratings.map((rating, at) => `${at},${-rating}`).join(" "));
    this.now.setAttribute("x1", step);
    this.now.setAttribute("x2", step);
  }

  #finish() {
    this.#record(Number(this.slider.value), this.steps - 1);
    this.state = "done";
    this.confirmButton.setAttribute("aria-disabled", "false");
    this.confirmButton.classList.add("strong");
    this.host.announce("The clip is over. Enter keeps this rating, Space rates again.");
  }
}
