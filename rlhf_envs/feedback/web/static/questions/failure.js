// What stands in place of clips that the server cannot show: a fault of the server costs no answer.
import { element, keyButton, message } from "../elements.js";
import { Question } from "./question.js";

export class FailureQuestion extends Question {
  #spoken;

  /**
   * @param query, host as of every question; the host can also retry().
   * @param failure why the films cannot be had.
   */
  constructor(query, failure, host) {
    super(query, [], host);
    const cost = query.practice
      ? "This is practice: skipping costs nothing."
      : "Skipping them counts as your answer to this question.";
    this.element = message("These clips cannot be shown", failure.message);
    this.element.append(element("p", {}, `Try again once that is mended. ${cost}`));
    this.choices = [
      keyButton("Enter", "Try again", () => host.retry(), { class: "strong" }),
      element("button", { type: "button", onclick: () => this.skip() }, "Skip them"),
    ];
    this.#spoken = `These clips cannot be shown. ${failure.message} ${cost}`;
  }

  get spoken() {
    return this.#spoken;
  }

  keyDown(event) {
    if (event.key !== "Enter") return false;
    if (!event.repeat) this.host.retry();
    return true;
  }
}
