// Two clips side by side: which is better?
import { Player } from "../clips.js";
import { capital, clipFrame, element, fitClips, isStacked, keyButton, sideName } from "../elements.js";
import { Question } from "./question.js";

const CHOICES = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "tie", ArrowDown: "skip" };

export class ComparisonQuestion extends Question {
  static namesSides = true;
  static keys = [
    ["← →", "that clip is better"],
    ["↑", "equally good"],
    ["↓", "cannot tell: skip"],
    ["1 – 9", "add a reason"],
  ];

  static refusals = { Enter: "Choose with ← or →; ↑ says that both are equally good." };

  static asked() {
    return "Two clips: which is better?";
  }

  constructor(query, films, host) {
    super(query, films, host);
    const clips = ["left", "right"].map((side, position) => {
      const name = sideName(side);
      const label = `The ${name} clip is better`;
      return clipFrame(films[position], capital(name), label, query.descriptions[position], () => this.choose(side));
    });
    this.frames = { left: clips[0].frame, right: clips[1].frame };
    this.player = new Player(
      clips.map((clip) => clip.video),
      query.frames_per_second,
    );
    this.element = element("div", { class: "clips" }, ...clips.map((clip) => clip.frame));
    fitClips(this.element, [isStacked() ? 1 : 2]);
    this.choices = [
      keyButton("←", `${capital(sideName("left"))} is better`, () => this.choose("left"), { class: "side" }),
      keyButton("↑", "Equally good", () => this.choose("tie")),
      keyButton("↓", "Cannot tell", () => this.skip()),
      keyButton("→", `${capital(sideName("right"))} is better`, () => this.choose("right"), { class: "side" }),
    ];
  }

  get spoken() {
    return ["left", "right"]
      .map((side, position) => `${capital(sideName(side))}: ${this.query.descriptions[position]}`)
      .join(" ");
  }

  keyDown(event) {
    const choice = CHOICES[event.key];
    if (choice === undefined) return false;
    if (!event.repeat) this.choose(choice);
    return true;
  }

  choose(choice) {
    const said = { tie: "equally good", skip: "skipped" }[choice] ?? `${sideName(choice)} is better`;
    this.host.submit({ choice }, said);
  }

  reveal(choice, known) {
    this.frames[choice]?.classList.add("chosen");
    this.frames[known].classList.add("known");
  }
}
