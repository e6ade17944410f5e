// A correction: a person stops a clip where it went wrong, takes over, and acts to its end by keys or buttons.
// The server shows what all keys since then lead to; nothing is stored before the person has looked at both stretches.
import { postForPicture } from "./api.js";
import { Player } from "./clips.js";
import { capital, clipFrame, element, fitClips, isStacked, keyButton, sideName } from "./elements.js";
import { Question } from "./questions/question.js";
import { theme } from "./theme.js";

const UNSEEN = 350; // milliseconds in which a finger that is lifted from a button cannot mean what took its place
const PAUSE = 500; // milliseconds, before a picture is asked for again that did not come
const ARROWS = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down", " ": "space" };
const SIDES = ["left", "right"];
const [WIDTH, HEIGHT] = [600, 400]; // of every film

const wait = (milliseconds) => new Promise((resume) => setTimeout(resume, milliseconds));

/** A place to draw pictures on; `label` says what they show. */
function canvas(label) {
  const made = element("canvas", { width: WIDTH, height: HEIGHT, role: "img", "aria-label": label });
  return { canvas: made, draw: (picture) => made.getContext("2d").drawImage(picture, 0, 0, WIDTH, HEIGHT) };
}

export class Correction extends Question {
  static ownSpeed = false;
  static keys = [
    [", .", "find the moment"],
    ["← → 1 – 9 Enter", "take over that clip"],
    ["Bksp", "act again"],
    ["Enter", "store what you did"],
    ["Esc", "leave"],
  ];

  /**
   * @param query as the server describes it.
   * @param films the addresses of its clips.
   * @param acting how to act: keys, arrows, in_turns and frames_per_second, as the server says.
   * @param at seconds into the clips where they stand.
   * @param host what it does to the page: store(message), leave(), changed(rubric), announce(sentence), note(sentence).
   */
  constructor(query, films, acting, at, host) {
    super(query, films, host);
    this.acting = acting;
    this.at = at;
    this.turn = Promise.resolve();
    this.attempt = 0; // counted up where what was begun no longer counts
    this.held = new Set();
    this.tapped = new Set(); // what was pressed since the last step, however briefly
    this.onBlur = () => this.held.clear();
    addEventListener("blur", this.onBlur);
  }

  // The phases: choose a clip and a moment, act, look at both stretches.

  choose() {
    this.phase = "choose";
    const clips = this.films.map((film, position) =>
      clipFrame(
        film,
        this.#name(position),
        `Take over: ${this.#name(position)}`,
        this.query.descriptions[position],
        () => this.takeOver(position),
      ),
    );
    this.#show(
      clips.map(({ frame }) => frame),
      clips.map(({ video }) => video),
      this.films.map((_, position) => position + 1),
    );
    this.choices = [
      ...this.films.map((_, position) =>
        keyButton(this.#keyOf(position), `Take over ${this.#name(position).toLowerCase()}`, () =>
          this.takeOver(position),
        ),
      ),
      this.#leaveButton("Leave"),
    ];
    this.player.ready().then(() => {
      if (this.phase !== "choose") return;
      for (const video of this.player.videos) video.currentTime = this.at;
    });
    this.host.changed("Show what it should have done: find the moment where it goes wrong, and take over there.");
    this.host.announce("Find the moment with comma and full stop, then take over a clip. Escape leaves.");
  }

  async takeOver(position) {
    const now = this.player?.videos[0].currentTime ?? 0;
    const step = Math.min(Math.floor(now / this.player.frame + 0.01), this.query.steps - 1);
    await this.begin(position, step);
  }

  /** Show the clip as it is at this step, from which on the person acts. */
  async begin(position, step) {
    this.attempt += 1;
    const { attempt } = this;
    const done = { position, step, held: [] };
    const first = await this.#picture(done, attempt);
    if (!first) return;
    this.done = done;
    this.pictures = [first.picture];
    this.over = false;
    this.started = false;
    this.held.clear();
    this.tapped.clear();
    this.shownAt = Date.now() / 1000;
    this.phase = "act";
    this.player?.stop();
    this.player = null;
    this.screen = canvas("What you do");
    this.screen.draw(first.picture);
    this.count = element("p", { class: "count" });
    const pad = element("div", { class: "keypad", role: "group", "aria-label": "Act" }, ...this.#keypad());
    this.element = element(
      "div",
      { class: "acting" },
      element("div", { class: "screen" }, this.screen.canvas),
      this.count,
      pad,
    );
    this.choices = [keyButton("Bksp", "From the start", () => this.begin(position, step)), this.#leaveButton("Leave")];
    this.#countSteps();
    const left = this.query.steps - step;
    const how = this.acting.in_turns ? "Each press is a step." : "It begins with your first press.";
    this.host.changed(`Act to the end of the clip: ${left} ${left === 1 ? "step" : "steps"}. ${how}`);
    this.host.announce(`You have taken over at step ${step + 1} of ${this.query.steps}. ${how}`);
  }

  async #run() {
    this.started = true;
    const { attempt } = this;
    while (attempt === this.attempt && !this.#complete()) {
      const due = performance.now() + 1000 / (this.acting.frames_per_second * this.speed);
      if (!(await this.#act([...new Set([...this.held, ...this.tapped])], attempt))) return;
      await wait(Math.max(due - performance.now(), 0));
    }
  }

  /** Act for one step; false where it came to nothing. */
  async #act(keys, attempt) {
    if (attempt !== this.attempt || this.#complete()) return false;
    this.tapped.clear();
    this.done.held.push(keys);
    this.#countSteps();
    if (!this.#complete()) {
      const next = await this.#picture(this.done, attempt);
      if (!next) return false;
      this.pictures.push(next.picture);
      this.over = next.over;
      this.screen.draw(next.picture);
    }
    if (this.#complete()) this.review();
    return true;
  }

  review() {
    this.phase = "review";
    const { position, step } = this.done;
    const agent = clipFrame(this.films[position], "The agent", "What the agent did", this.query.descriptions[position]);
    const own = canvas("What you did");
    const frame = element("div", { class: "clip known" }, element("span", { class: "tag" }, "You: better"), own.canvas);
    this.#show([agent.frame, frame], [agent.video], [isStacked() ? 1 : 2]);
    this.element.classList.add("named");
    const { attempt, player } = this;
    const follow = () => {
      if (attempt !== this.attempt || this.phase !== "review") return;
      const at = Math.floor(agent.video.currentTime / player.frame + 0.01) - step;
      if (at >= 0) own.draw(this.pictures[Math.min(at, this.pictures.length - 1)]);
      else if (agent.video.readyState >= 2) own.draw(agent.video);
      requestAnimationFrame(follow);
    };
    const since = performance.now();
    const seen = (act) => (event) => (event.detail === 0 || performance.now() - since > UNSEEN) && act();
    this.choices = [
      keyButton(
        "Enter",
        "Store: mine is better",
        seen(() => this.store()),
        { class: "strong" },
      ),
      keyButton(
        "Bksp",
        "Act again",
        seen(() => this.begin(position, step)),
      ),
      keyButton(
        "Esc",
        "Discard",
        seen(() => this.host.leave()),
      ),
    ];
    this.host.changed("Store it, and what you did counts as better than what the agent did.");
    this.host.announce("Done. Enter stores what you did as better, Backspace acts again, Escape discards it.");
    player.ready().then(() => {
      if (attempt !== this.attempt || this.phase !== "review") return;
      player.replay();
      follow();
    });
  }

  store() {
    this.host.store({
      query: this.query.id,
      ...this.done,
      shown_at: this.shownAt,
      answered_at: Date.now() / 1000,
    });
  }

  // What the person presses.

  get speed() {
    return this.player?.speed ?? this.lastSpeed ?? 1;
  }

  start() {
    this.player?.replay();
  }

  keyDown(event) {
    const { key } = event;
    if (key === "Tab" || ((key === "Enter" || key === " ") && event.target.closest?.("button"))) return false;
    if (key === "Escape") this.host.leave();
    else if (this.phase === "choose") return this.#chooseBy(event);
    else if (key === "Backspace") {
      if (!event.repeat) this.begin(this.done.position, this.done.step);
    } else if (this.phase === "act") this.#actBy(event);
    else if (key === "Enter") {
      if (!event.repeat) this.store();
    } else return /^[1-9cC]$/.test(key);
    return true;
  }

  #chooseBy({ key, repeat }) {
    if (key === "Backspace") this.host.leave();
    else if (this.films.length === 2 && (key === "ArrowLeft" || key === "ArrowRight"))
      this.takeOver(Number(key === "ArrowRight"));
    else if (this.films.length > 2 && /^[1-9]$/.test(key) && Number(key) <= this.films.length)
      this.takeOver(Number(key) - 1);
    else if (this.films.length === 1 && key === "Enter" && !repeat) this.takeOver(0);
    else if (/^(Arrow.*|Enter|[1-9cC])$/.test(key)) {
      if (!repeat) this.host.note("Take over one of the clips by its button or key; Escape leaves.");
    } else return false;
    return true;
  }

  #actBy({ key, repeat }) {
    const name = ARROWS[key] ?? key.toLowerCase();
    if (name in this.acting.keys || name in this.acting.arrows) {
      if (!repeat) this.#press(name);
    } else if (key === "Enter" && !this.acting.in_turns) {
      if (!repeat && !this.started) this.#run();
    } else if (key.length === 1 || key === "Enter") this.host.note("That key does nothing here; Escape leaves.");
  }

  keyUp({ key }) {
    this.held.delete(ARROWS[key] ?? key.toLowerCase());
  }

  #press(name) {
    if (this.phase !== "act" || this.#complete()) return;
    if (this.acting.in_turns) {
      const { attempt } = this;
      // Keys that come before the picture that the last one leads to wait for their turn.
      this.turn = this.turn.then(() => this.#act([name], attempt));
      return;
    }
    this.held.add(name);
    this.tapped.add(name);
    if (!this.started) this.#run();
  }

  stop() {
    super.stop();
    this.attempt += 1;
    this.phase = "left";
    removeEventListener("blur", this.onBlur);
  }

  // How it looks.

  #show(frames, videos, columns) {
    this.lastSpeed = this.speed;
    this.player?.stop();
    this.player = new Player(videos, this.query.frames_per_second);
    this.player.setSpeed(this.lastSpeed);
    this.element = element("div", { class: `clips ${frames.length > 2 ? "many" : ""}` }, ...frames);
    fitClips(this.element, frames.length === 2 ? [isStacked() ? 1 : 2] : columns);
  }

  /** A button for each key: it acts as long as it is held down, or for a step where it is pressed by keyboard. */
  #keypad() {
    return Object.entries(this.acting.keys).map(([name, does]) =>
      keyButton(name.length === 1 ? name.toUpperCase() : name, does, (event) => event.detail === 0 && this.#tap(name), {
        onpointerdown: (event) => {
          event.preventDefault();
          event.target.setPointerCapture?.(event.pointerId);
          this.#press(name);
        },
        onlostpointercapture: () => this.held.delete(name),
      }),
    );
  }

  #tap(name) {
    this.#press(name);
    this.held.delete(name);
  }

  #countSteps() {
    this.count.textContent = `step ${this.done.step + this.done.held.length} of ${this.query.steps}`;
  }

  #complete() {
    return this.over || this.done.step + this.done.held.length >= this.query.steps;
  }

  #leaveButton(words) {
    return keyButton("Esc", words, () => this.host.leave());
  }

  #name(position) {
    if (this.films.length === 1) return "The clip";
    return this.films.length === 2 ? capital(sideName(SIDES[position])) : `Clip ${position + 1}`;
  }

  #keyOf(position) {
    if (this.films.length === 1) return "Enter";
    return this.films.length === 2 ? ["←", "→"][position] : String(position + 1);
  }

  /** What is to be seen after these keys; undefined where it cannot be, or is not wanted any more. */
  async #picture({ position, step, held }, attempt) {
    const message = { query: this.query.id, position, step, held };
    while (attempt === this.attempt) {
      try {
        const found = await postForPicture(`/api/corrections/frame?theme=${theme()}`, message);
        return attempt === this.attempt ? found : undefined;
      } catch (failure) {
        if (attempt !== this.attempt) return undefined;
        if (failure.status !== undefined && !failure.passing) {
          this.host.note(failure.message);
          return undefined;
        }
        this.host.note("The server cannot be reached; this goes on as soon as it can.");
        await wait((failure.retryAfter ?? 0) * 1000 || PAUSE);
      }
    }
    return undefined;
  }
}
