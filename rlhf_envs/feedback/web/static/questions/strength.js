// Two clips side by side: which is better, slightly or clearly?
import { capital, keyButton, sideName } from "../elements.js";
import { ComparisonQuestion } from "./comparison.js";

const SIDES = { ArrowLeft: "left", ArrowRight: "right" };

export class StrengthQuestion extends ComparisonQuestion {
  static keys = [
    ["← →", "that clip is slightly better"],
    ["Shift ← →", "that clip is clearly better"],
    ["↑", "equally good"],
    ["↓", "cannot tell: skip"],
    ["1 – 9", "add a reason"],
  ];

  static refusals = { Enter: "Choose with ← or →, and with Shift where it is clearly better." };

  static asked() {
    return "Two clips: which is better, slightly or clearly? With Shift an arrow key says clearly.";
  }

  constructor(query, films, host) {
    super(query, films, host);
    const button = (key, side, strength, attributes = {}) =>
      keyButton(key, `${capital(strength)} ${sideName(side)}`, () => this.prefer(side, strength), {
        "aria-label": `${capital(sideName(side))} is ${strength} better`,
        ...attributes,
      });
    this.choices = [
      button("⇧ ←", "left", "clearly"),
      button("←", "left", "slightly", { class: "side" }),
      keyButton("↑", "Equally good", () => this.choose("tie")),
      keyButton("↓", "Cannot tell", () => this.skip()),
      button("→", "right", "slightly", { class: "side" }),
      button("⇧ →", "right", "clearly"),
    ];
  }

  keyDown(event) {
    const side = SIDES[event.key];
    if (side === undefined) return super.keyDown(event);
    if (!event.repeat) this.prefer(side, event.shiftKey ? "clearly" : "slightly");
    return true;
  }

  /** A click on a clip prefers it slightly. */
  choose(choice) {
    if (choice === "left" || choice === "right") this.prefer(choice, "slightly");
    else super.choose(choice);
  }

  prefer(side, strength) {
    this.host.submit({ choice: side, payload: { strength } }, `${sideName(side)} is ${strength} better`);
  }
}
