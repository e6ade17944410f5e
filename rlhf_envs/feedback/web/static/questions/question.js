// What every question screen can do: a person sees one query and answers it. ../questions.js lists the screens by kind.

export class Question {
  /** What its keys do: [["← →", "that clip is better"], ...]. */
  static keys = [];

  /** Why keys that a person may try do nothing, by their names. */
  static refusals = {};

  /** Whether it plays at a speed of its own, which does not carry over to the next question. */
  static ownSpeed = false;

  /** Whether it depends on how the clips stand, side by side or one above the other. */
  static namesSides = false;

  /** What is asked, to be read aloud when it is another kind of question than before. */
  static asked(_query) {
    return "";
  }

  /**
   * A subclass sets `element`, what is shown; `choices`, the buttons that answer; and `player`, of its clips, or null.
   *
   * @param query as the server describes it.
   * @param films the addresses of its clips.
   * @param host what the question does to the page: submit({choice, payload}, said), announce(sentence) to
   *   those who hear the page, and note(sentence), which is seen as well, where something is refused.
   */
  constructor(query, films, host) {
    this.query = query;
    this.films = films;
    this.host = host;
    this.player = null;
  }

  /** What happens in the clips, to be read aloud. */
  get spoken() {
    return "";
  }

  /** The clips can be played now. */
  present() {
    this.start();
  }

  /** Play from the start. */
  start() {
    this.player?.replay();
  }

  /** It is on screen again, after something else was there. */
  resume() {
    this.start();
  }

  /** Whether the key meant something. */
  keyDown(_event) {
    return false;
  }

  keyUp(_event) {}

  /** Show what was chosen and what is known to be right, after a practice answer. */
  reveal(_choice, _known) {}

  /** It leaves the screen. */
  stop() {
    this.player?.stop();
  }

  skip() {
    this.host.submit({ choice: "skip" }, "skipped");
  }
}
