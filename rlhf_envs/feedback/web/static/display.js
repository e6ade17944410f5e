// What stands around the clips: progress, banner, reasons, controls, the list of keys, and what is read aloud.
import { element, keyButton, message } from "./elements.js";
import { connectThemeButton } from "./theme.js";

const find = (id) => document.getElementById(id);
const EVERYWHERE = [
  ["Space", "play again from the start"],
  ["Backspace", "undo the last answer"],
  ["+ −", "faster, slower"],
  ["C", "take over a clip: show what it should have done"],
  [", .", "one frame back, on"],
  ["T", "light or dark"],
  ["?", "this list"],
];

/** The sentence above the clips, and whether this is practice. */
export function showRubric(rubric, practice) {
  find("rubric").replaceChildren(
    practice ? element("span", { class: "pill" }, "Practice: does not count") : "",
    rubric,
  );
}

export function announce(sentence) {
  // The same words again are read again only where the text has changed in between.
  find("live").textContent = "";
  setTimeout(() => {
    find("live").textContent = sentence;
  }, 30);
}

const NOTE = 4500; // milliseconds
let noted;

/** Say for some seconds, to be seen and heard, why something that was pressed does nothing. */
export function note(sentence) {
  clearTimeout(noted);
  find("note").replaceChildren(element("span", {}, sentence));
  noted = setTimeout(clearNote, NOTE);
}

export function clearNote() {
  find("note").replaceChildren();
}

export function showMe(me) {
  find("environment").textContent = me.environment;
  find("rubric").textContent = me.rubric;
  document.title = `${me.environment}: which is better?`;
}

export function showProgress(progress, waiting) {
  const bar = find("done");
  bar.max = Math.max(progress.wanted, 1);
  bar.value = progress.answered;
  const pace = progress.seconds_per_answer === null ? "" : ` · ${progress.seconds_per_answer.toFixed(1)} s each`;
  const yours = progress.own_answers + waiting;
  find("counts").textContent = `${progress.answered} of ${progress.wanted} · ${yours} by you${pace}`;
  find("training").textContent = progress.training;
}

/**
 * What is wrong at the moment, or nothing.
 *
 * @param known `ended`: why the link no longer works; `refusal`: what was refused just now; `failure`: the latest;
 *   `summary`: of what was stored, once everything is over.
 * @param count how many answers are on their way.
 */
export function troubleSentence({ ended, refusal, failure, summary }, count) {
  if (summary && !refusal && failure?.status === undefined) return ""; // all is stored: the server may go
  const kept = count === 0 ? "" : `${count} ${count === 1 ? "answer" : "answers"} kept on this device`;
  if (ended) return ended + (kept ? ` ${kept}.` : "");
  if (refusal) return refusal;
  if (!navigator.onLine || (failure && failure.status === undefined)) {
    return kept
      ? `Offline, ${kept}; they are sent as soon as the server can be reached.`
      : "Offline: trying to reach the server again.";
  }
  return failure ? failure.message + (kept ? ` Meanwhile ${kept}.` : "") : "";
}

export function showBanner(sentence) {
  const banner = find("banner");
  if (sentence && banner.textContent !== sentence) banner.textContent = sentence;
  banner.hidden = !sentence;
}

/** The chips; `chosen()` gives the names of those that are pressed. */
export class Reasons {
  constructor(reasons) {
    this.chips = Object.entries(reasons).map(([name, text], index) => {
      const chip = keyButton(index < 9 ? String(index + 1) : "", text, () => this.#toggle(chip), {
        class: "chip",
        "aria-pressed": "false",
        "data-name": name,
      });
      return chip;
    });
    if (this.chips.length)
      find("reasons").replaceChildren(element("span", { class: "unseen" }, "Because of:"), ...this.chips);
    this.show(false);
  }

  #toggle(chip) {
    chip.setAttribute("aria-pressed", chip.getAttribute("aria-pressed") !== "true");
  }
  toggle(index) {
    if (this.chips[index]) {
      this.#toggle(this.chips[index]);
      return true;
    }
    return false;
  }
  chosen() {
    return this.chips.filter((chip) => chip.getAttribute("aria-pressed") === "true").map((chip) => chip.dataset.name);
  }
  clear() {
    this.chips.forEach((chip) => chip.setAttribute("aria-pressed", "false"));
  }
  show(visible) {
    find("reasons").hidden = !visible || this.chips.length === 0;
  }
}

/** Buttons for what the keys do to playing, and undo. */
export class Controls {
  constructor(actions) {
    this.speed = element("output", { "aria-label": "Speed" }, "1×");
    this.undo = keyButton("Bksp", "Undo", actions.undo, { class: "quiet" });
    this.playing = [
      keyButton("Space", "Replay", actions.replay, { class: "quiet" }),
      keyButton(",", "Frame back", () => actions.step(-1), { class: "quiet", sign: "◂" }),
      keyButton(".", "Frame on", () => actions.step(1), { class: "quiet", sign: "▸" }),
      keyButton("−", "Slower", () => actions.faster(false), { class: "quiet", sign: "−" }),
      this.speed,
      keyButton("+", "Faster", () => actions.faster(true), { class: "quiet", sign: "+" }),
    ];
    this.correct = keyButton("C", "Correct", actions.correct, { class: "quiet", sign: "✎" });
    find("controls").replaceChildren(this.undo, ...this.playing, this.correct);
    this.showPlaying(false, false, false); // until it is known what is asked
  }

  showSpeed(speed) {
    this.speed.textContent = `${speed}×`;
  }
  /** Show those for playing, for correcting a clip, and for undoing, or not. */
  showPlaying(visible, correctable, undoable) {
    this.playing.forEach((button) => {
      button.hidden = !visible;
    });
    this.correct.hidden = !correctable;
    this.undo.hidden = !undoable;
  }
}

/** The dialog with the list of keys; `questionKeys()` gives those of the question on screen. */
export function connectKeyList(questionKeys, { legend, correction }) {
  const dialog = find("keys");
  const everywhere = EVERYWHERE.filter(([key]) => key !== "C" || correction);
  const open = () => {
    find("key-list").replaceChildren(
      ...[...questionKeys(), ...everywhere].flatMap(([keys, text]) => [
        element("dt", {}, ...keys.split(/ (?!– )(?<!– )/).map((key) => element("kbd", {}, key))),
        element("dd", {}, text),
      ]),
    );
    find("legend").replaceChildren(...legendRows(legend));
    find("in-clips").hidden = Object.keys(legend).length === 0;
    dialog.showModal();
    dialog.scrollTop = 0; // the button that has the focus stands at the end
  };
  find("help").addEventListener("click", open);
  return open;
}

const legendRows = (legend) =>
  Object.entries(legend).flatMap(([seen, meaning]) => [element("dt", {}, seen), element("dd", {}, meaning)]);

/** What a new annotator reads first: the question, what is to be seen, and that practice comes first. */
export function introduction({ rubric, legend }, practice) {
  const shown = message("What you are asked", rubric, "h1");
  shown.classList.add("introduction");
  if (Object.keys(legend).length)
    shown.append(
      element("h2", {}, "What you see in the clips"),
      element("dl", { class: "summary" }, ...legendRows(legend)),
    );
  const first = practice
    ? "Some pairs for practice come first; they do not count, and you read how they are meant. "
    : "";
  shown.append(element("p", {}, `${first}Answer as you see it: there is no hurry, and Undo takes an answer back.`));
  return shown;
}

/** What a practice answer was worth; `next` is called when it was read. */
export function showFeedback(right, known, side, next) {
  const box = find("feedback");
  box.classList.toggle("wrong", !right);
  const button = keyButton("Enter", "Next", next, { class: "strong" });
  box.replaceChildren(
    element(
      "p",
      {},
      element("strong", {}, `${right ? known.if_right : known.if_wrong} `),
      known.explanation.replace("{side}", side),
    ),
    button,
  );
  box.hidden = false;
  find("choices").hidden = true;
  find("reasons").classList.add("away");
  button.focus();
}

export function hideFeedback() {
  find("feedback").hidden = true;
  find("reasons").classList.remove("away");
}

/** What stands there while there is nothing to answer, `listed` being whether the server has said so. */
export function idleMessage(listed, progress, summary) {
  if (!listed || !progress) return message("Looking for what to show …", "");
  const idle = message(...progress.idle, summary ? "h1" : "h2");
  if (summary?.length)
    idle.append(
      element(
        "dl",
        { class: "summary" },
        ...summary.flatMap(({ name, text }) => [element("dt", {}, name), element("dd", {}, text)]),
      ),
    );
  return idle;
}

/** A page without queries, because the link gives no access to any. */
export function showMessageOnly(heading, sentence) {
  find("rubric").hidden = true;
  find("stage").replaceChildren(message(heading, sentence, "h1"));
  connectThemeButton(find("theme"));
}
