// What stands in place of clips that the server cannot show: nobody has to spend an answer on a fault of the server.
import { element, keyButton } from "./elements.js";
import { message } from "./display.js";

export class FailureView {
  /** @param host what the buttons do: retry(), and submit(answer, said). */
  constructor(query, failure, host) {
    this.host = host;
    this.player = null;
    const cost = query.practice
      ? "This is practice: skipping costs nothing."
      : "Skipping them counts as your answer to this question.";
    this.element = message("These clips cannot be shown", failure.message);
    this.element.append(element("p", {}, `Try again once that is mended. ${cost}`));
    this.choices = [
      keyButton("Enter", "Try again", () => host.retry(), { class: "strong" }),
      element("button", { type: "button", onclick: () => host.submit({ choice: "skip" }, "skipped") }, "Skip them"),
    ];
    this.spoken = `These clips cannot be shown. ${failure.message} ${cost}`;
  }

  keyDown(event) {
    if (event.key !== "Enter") return false;
    if (!event.repeat) this.host.retry();
    return true;
  }
}
