// Two clips side by side: which is better?
import { Player } from "./clips.js";
import { capital, clipFrame, element, keyButton, sideName } from "./elements.js";

const KEYS = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "tie", ArrowDown: "skip" };

export class ComparisonView {
  constructor(query, films, host) {
    this.host = host;
    const clips = ["left", "right"].map((side, position) => {
      const name = sideName(side);
      return clipFrame(films[position], capital(name), `The ${name} clip is better`, () => this.choose(side));
    });
    this.frames = { left: clips[0].frame, right: clips[1].frame };
    this.player = new Player(
      clips.map((clip) => clip.video),
      query.frames_per_second,
    );
    this.element = element("div", { class: "clips" }, ...clips.map((clip) => clip.frame));
    this.choices = [
      keyButton("←", `${capital(sideName("left"))} is better`, () => this.choose("left"), { class: "side" }),
      keyButton("↑", "Equally good", () => this.choose("tie")),
      keyButton("↓", "Cannot tell", () => this.choose("skip")),
      keyButton("→", `${capital(sideName("right"))} is better`, () => this.choose("right"), { class: "side" }),
    ];
  }

  start() {
    this.player.replay();
  }

  keyDown(event) {
    const choice = KEYS[event.key];
    if (choice === undefined) return false;
    if (!event.repeat) this.choose(choice);
    return true;
  }

  choose(choice) {
    const said = {
      left: `${sideName("left")} is better`,
      right: `${sideName("right")} is better`,
      tie: "equally good",
      skip: "skipped",
    };
    this.host.submit({ choice }, said[choice]);
  }

  /** Show what was chosen and what is known to be right. */
  reveal(choice, answer) {
    this.frames[choice]?.classList.add("chosen");
    this.frames[answer].classList.add("known");
  }
}

export const COMPARISON_KEYS = [
  ["← →", "that clip is better"],
  ["↑", "equally good"],
  ["↓", "cannot tell: skip"],
  ["1 – 9", "add a reason"],
];
