// The labelling page: shows one query after the other and never loses an answer.
import { addressOf, freshToken, get, post, runsPage, token } from "./api.js";
import { FilmCache } from "./clips.js";
import {
  announce,
  clearNote,
  connectKeyList,
  Controls,
  hideFeedback,
  idleMessage,
  introduction,
  note,
  Reasons,
  showMessageOnly,
  showBanner,
  showFeedback,
  showMe,
  showProgress,
  showRubric,
  troubleSentence,
} from "./display.js";
import { Correction } from "./correction.js";
import { keyButton, message, onStackedChange, sideName } from "./elements.js";
import { Outbox } from "./outbox.js";
import { FEWEST, Queue } from "./queue.js";
import { FailureQuestion } from "./questions/failure.js";
import { QUESTIONS } from "./questions.js";
import { connectThemeButton, onThemeChange, theme } from "./theme.js";

const POLL = 2000; // milliseconds, while there is little to do
const RENEW = 30_000; // so that what is on screen stays leased to this annotator
const FASTER = 2 ** 0.5;
const KINDS = Object.keys(QUESTIONS)
  .map((kind) => `&kinds=${kind}`)
  .join("");
const find = (id) => document.getElementById(id);

const NAMES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };

/** Whether a key is pressed to answer something, rather than to move about the page or to hold another one with it. */
const isMeant = ({ key, repeat, target }) =>
  !repeat && (key.length === 1 || key === "Enter" || key in NAMES) && !target.closest?.("input");

class LabelPage {
  constructor(me) {
    this.me = me;
    this.queue = new Queue();
    this.films = new FilmCache();
    this.shown = undefined; // the query on screen
    this.question = undefined;
    this.speed = 1;
    this.outbox = new Outbox(`${me.store}/${me.name}`, {
      acknowledged: (operation, result) => this.acknowledged(operation, result),
      refused: (operation, sentence) => this.refused(operation, sentence),
      delayed: (failure) => {
        this.failure = failure;
        this.updateBanner();
      },
      invalid: (sentence) => {
        this.ended = sentence;
        this.updateBanner();
      },
      changed: () => this.updateBanner(),
    });
    this.reasons = new Reasons(me.reasons);
    this.controls = new Controls({
      undo: () => this.undo(),
      correct: () => this.correct(),
      replay: () => this.replay(),
      step: (direction) => this.question?.player.step(direction),
      faster: (up) => this.setSpeed(up),
    });
    this.openKeys = connectKeyList(() => this.question?.constructor.keys ?? [], me);
    this.toggleTheme = connectThemeButton(find("theme"));
    find("runs").hidden = runsPage === null;
    if (runsPage !== null) find("runs").href = runsPage;
    onThemeChange(() => this.show(true));
    onStackedChange(() => {
      if (this.question?.constructor.namesSides) this.show(true);
    });
    showMe(me);
    document.addEventListener("keydown", (event) => this.keyDown(event));
    document.addEventListener("keyup", (event) => this.question?.keyUp(event));
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.refresh();
    });
    addEventListener("pagehide", () => this.leaveQueries());
    addEventListener("pageshow", (event) => {
      if (event.persisted) this.refresh();
    });
    addEventListener("online", () => this.refresh());
    addEventListener("offline", () => this.updateBanner());
    setInterval(() => {
      // While there are few, others may take over what this page has not shown yet.
      if (!document.hidden && this.queue.next.length < FEWEST) this.refresh();
    }, POLL);
    setInterval(() => {
      if (!document.hidden) this.refresh();
    }, RENEW);
    setInterval(() => {
      if (!document.hidden) this.updateProgress();
    }, 2 * POLL);
    this.outbox.flush();
    this.refresh();
    this.updateProgress();
  }

  // What the server says.

  async refresh() {
    if (this.ended || this.refreshing) return;
    this.refreshing = true;
    const before = this.queue.version;
    const settled = this.outbox.length === 0;
    const { pending } = this.outbox;
    try {
      const showing = this.queue.current ? `&showing=${this.queue.current.id}` : "";
      const { queries } = await get(`/api/queries?theme=${theme()}${KINDS}${showing}`);
      this.queue.merge(queries, settled && this.queue.version === before, pending);
      this.failure = this.outbox.length ? this.failure : null;
      this.listed = true;
    } catch (failure) {
      if (failure.status === 401) this.ended = failure.message;
      this.failure = failure;
      this.again ??= setTimeout(
        () => {
          this.again = undefined;
          this.refresh();
        },
        (failure.retryAfter ?? 2) * 1000,
      );
    }
    this.refreshing = false;
    this.updateBanner();
    this.prepare();
    this.show();
  }

  async updateProgress() {
    if (this.ended) return;
    try {
      this.progress = await get("/api/progress");
      showProgress(this.progress, this.outbox.length);
      if (this.progress.finished && !this.queue.current && this.outbox.length === 0) await this.close();
      this.show();
    } catch {
      /* the banner says so when something has to be sent */
    }
  }

  /** Everything is over and stored: read what became of it, for which the server stays until then. */
  async close() {
    if (this.listed && !this.summary) this.summary = (await get("/api/summary")).lines;
  }

  acknowledged(operation, result) {
    this.summary = undefined;
    if (operation.path === "/api/corrections") this.queue.corrected(operation.body.token, result);
    if (operation.path === "/api/undo") {
      if (result.query === null) note("There is nothing to undo.");
      this.refresh();
    } else if (this.queue.next.length < FEWEST) {
      this.refresh();
    }
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.updateProgress(), 600);
  }

  refused(operation, sentence) {
    if (operation.path === "/api/corrections") this.queue.corrected(operation.body.token);
    else if (operation.body.query) this.queue.forget(operation.body.query);
    this.refusal = sentence;
    setTimeout(() => {
      this.refusal = undefined;
      this.updateBanner();
    }, 6000);
    this.refresh();
  }

  /** Others need not wait for what is leased here; should this page come back, it asks again. */
  leaveQueries() {
    if (!this.ended) post("/api/release", { keep: [...this.outbox.pending] }).catch(() => {});
  }

  updateBanner() {
    showBanner(troubleSentence(this, this.outbox?.length ?? 0));
  }

  // What is on screen.

  prepare() {
    const soon = this.queue.next.slice(0, FEWEST);
    const lately = [...this.queue.answered.values()].filter(Boolean).slice(-2);
    this.films.keep([...soon, ...lately]);
    soon.forEach((query) => this.films.get(query, theme()).catch(() => {}));
  }

  show(anew = false) {
    if (this.asked) return; // a clip is being corrected
    if (this.reading) return; // what a practice answer was worth, or what there is to know, is on screen
    if (this.me.new && this.queue.current) return this.introduce();
    const query = this.queue.current;
    if (query && query.id === this.shown?.id && !anew) return;
    const pressed = anew && query?.id === this.shown?.id ? this.reasons.chosen() : [];
    this.leave();
    this.shown = query;
    if (!query) return this.showNothing();
    find("rubric").hidden = false;
    showRubric(query.rubric, query.practice);
    this.place(message("", "Loading the clips …"));
    this.films.get(query, theme()).then(
      (films) => this.present(query, films),
      (failure) => this.presentFailure(query, failure),
    );
    this.reasons.clear();
    this.reasons.chips.filter((chip) => pressed.includes(chip.dataset.name)).forEach((chip) => chip.click());
    return undefined;
  }

  async present(query, films) {
    if (query !== this.shown || this.question) return;
    const Screen = QUESTIONS[query.kind];
    const question = new Screen(query, films, { submit: (answer, said) => this.submit(answer, said), announce, note });
    this.question = question;
    this.place(question.element, question.choices);
    question.element.classList.add("loading");
    await question.player.ready().catch((failure) => {
      this.refusal = failure.message;
      this.updateBanner();
    });
    if (this.question !== question) return;
    if (Screen.ownSpeed) this.controls.showSpeed(question.player.speed);
    else this.setSpeed();
    question.element.classList.remove("loading");
    this.shownAt = Date.now() / 1000;
    this.ready = true;
    find("stage").dataset.query = query.id;
    question.present();
    const asked = Screen.asked(query);
    const about = query.practice
      ? `Practice: this answer does not count. ${query.rubric}`
      : Screen === this.lastScreen
        ? ""
        : asked;
    const spoken = [about, question.spoken].filter(Boolean).join(" ");
    if (spoken) announce(spoken);
    this.lastScreen = Screen;
  }

  presentFailure(query, failure) {
    if (query !== this.shown) return;
    this.ready = true;
    this.shownAt = Date.now() / 1000;
    this.question = new FailureQuestion(query, failure, {
      submit: (answer, said) => this.submit(answer, said),
      retry: () => this.retry(),
    });
    this.place(this.question.element, this.question.choices);
    announce(this.question.spoken);
  }

  /** Ask for the films again, and before that for the queries, of which the server may know more by now. */
  async retry() {
    const query = this.shown;
    this.leave();
    this.place(message("", "Loading the clips …"));
    await this.refresh();
    if (this.shown === query) this.show(true);
  }

  showNothing() {
    const idle = idleMessage(this.listed, this.progress, this.summary);
    find("rubric").hidden = Boolean(this.summary);
    if (find("stage").textContent !== idle.textContent) this.place(idle);
  }

  place(shown, choices = []) {
    find("stage").replaceChildren(shown);
    find("choices").replaceChildren(...choices);
    find("choices").hidden = choices.length === 0;
    const playing = choices.length > 0 && !!this.question?.player;
    this.reasons.show(playing && !this.asked);
    this.controls.showPlaying(playing, playing && !this.asked && !!this.shown?.correctable, !this.asked);
  }

  leave() {
    this.question?.stop();
    this.question = undefined;
    this.ready = false;
    delete find("stage").dataset.query;
    hideFeedback();
    this.reading = undefined;
  }

  // What the annotator does.

  submit(answer, said) {
    if (this.reading) return this.reading();
    if (!this.ready) return note("The clips are still loading.");
    clearNote();
    const query = this.queue.advance();
    this.outbox.add("/api/answers", {
      query: query.id,
      token: freshToken(),
      reasons: this.reasons.chosen(),
      shown_at: this.shownAt,
      answered_at: Date.now() / 1000,
      ...answer,
    });
    this.ready = false;
    this.prepare();
    if (query.practice && this.question.player) return this.explain(query.practice, answer.choice);
    announce(`${said}.`);
    this.show();
    if (this.queue.next.length < FEWEST && this.outbox.length > 1) this.refresh();
    return undefined;
  }

  /** Before the first question of all: what it is about and what is to be seen. */
  introduce() {
    const proceed = () => {
      this.me.new = false;
      this.reading = undefined;
      this.show();
      find("stage").focus();
    };
    this.reading = proceed;
    const button = keyButton("Enter", this.queue.current.practice ? "Practise first" : "Begin", proceed, {
      class: "strong",
    });
    this.place(introduction(this.me, this.queue.current.practice), [button]);
    this.controls.showPlaying(false, false, false); // whoever is new here has nothing to take back
    find("rubric").hidden = true;
    button.focus();
    announce(find("stage").textContent);
  }

  /** Show how a practice answer compares with the known one, until that was read. */
  explain(known, choice) {
    this.reading = () => {
      this.reading = undefined;
      this.leave();
      this.shown = undefined;
      this.show();
      find("stage").focus();
    };
    this.question.reveal(choice, known.answer);
    this.question.player.replay();
    showFeedback(choice === known.answer, known, sideName(known.answer), () => this.reading?.());
  }

  undo() {
    if (this.asked) return;
    this.reading = undefined;
    const query = this.queue.back();
    this.outbox.add("/api/undo", { token: freshToken() });
    this.prepare();
    if (query) {
      announce("Undone. The clips are here again.");
      this.show(true);
    }
  }

  /** Let a clip of the question on screen be taken over; the question waits meanwhile. */
  async correct() {
    if (this.asked) return;
    if (!this.ready || !this.question?.player) return note("There is nothing to correct right now.");
    if (!this.shown.correctable) return note("Nobody can act in these clips, so they cannot be corrected.");
    clearNote();
    this.asked = { question: this.question, query: this.shown, rubric: [...find("rubric").childNodes], theme: theme() };
    const { player } = this.question;
    player.pause();
    const films = await this.films.get(this.shown, theme());
    this.question = new Correction(this.shown, films, this.me.correction, player.videos[0].currentTime, {
      store: (done) => this.storeCorrection(done),
      leave: () => this.leaveCorrection(),
      changed: (rubric) => {
        clearNote();
        find("rubric").replaceChildren(rubric);
        this.place(this.question.element, this.question.choices);
        find("stage").focus();
      },
      announce,
      note,
    });
    this.question.choose();
    this.question.player.setSpeed(player.speed);
  }

  storeCorrection(done) {
    const named = freshToken();
    this.queue.correct(named);
    this.outbox.add("/api/corrections", { ...done, token: named });
    this.leaveCorrection();
    note("Stored: what you did counts as better. The question is still yours to answer.");
    announce("Stored. The question is here again.");
  }

  /** Back to the question that was on screen, as it was. */
  leaveCorrection() {
    const { question, query, rubric, theme: drawnIn } = this.asked;
    this.question.stop();
    this.asked = undefined;
    this.question = question;
    find("rubric").replaceChildren(...rubric);
    this.place(question.element, question.choices);
    find("stage").focus();
    if (drawnIn !== theme() || this.queue.current?.id !== query.id) this.show(true);
    else question.resume();
  }

  replay() {
    if (this.ready && this.question?.player) this.question.start();
  }

  setSpeed(faster) {
    const player = this.question?.player;
    if (!player) return;
    const { ownSpeed } = this.question.constructor;
    const from = ownSpeed ? player.speed : this.speed;
    const wanted = faster === undefined ? from : from * (faster ? FASTER : 1 / FASTER);
    const speed = player.setSpeed(Math.round(wanted * 100) / 100);
    if (!ownSpeed) this.speed = speed;
    this.controls.showSpeed(Math.round(speed * 10) / 10);
  }

  keyDown(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || find("keys").open) return;
    const onButton = event.target.closest?.("button, a");
    if (this.reading) {
      if (["Enter", " ", "ArrowLeft", "ArrowRight"].includes(event.key) && !onButton && !event.repeat) {
        event.preventDefault();
        this.reading();
      } else if (event.key === "Backspace" && !this.me.new) this.undo();
      else if (isMeant(event) && !onButton) note("Enter goes on.");
      return;
    }
    const before = find("note").firstChild;
    if (this.perform(event, onButton)) {
      event.preventDefault();
      if (find("note").firstChild === before) clearNote();
    } else if (isMeant(event) && !onButton) note(this.refusalOf(event.key));
  }

  /** Why a key that was pressed does nothing. */
  refusalOf(key) {
    const name = key.length === 1 ? key.toUpperCase() : (NAMES[key] ?? key);
    const { question } = this;
    if (!question) return this.shown ? "The clips are still loading." : "There is nothing to answer right now.";
    if (/^[1-9]$/.test(key)) return question.player ? `There is no reason ${key}.` : `${name} does nothing here.`;
    return question.constructor.refusals[key] ?? `${name} does nothing here; ? lists the keys.`;
  }

  /** Whether the key meant something. */
  perform(event, onButton) {
    const { key } = event;
    if ((key === "Enter" || key === " ") && onButton) return false; // it presses that button
    if (this.question?.keyDown(event)) return true;
    if (key === "Backspace") {
      if (!event.repeat) this.undo();
    } else if (key === " ") {
      if (!event.repeat) this.replay();
    } else if (key === "+" || key === "=") this.setSpeed(true);
    else if (key === "-" || key === "_") this.setSpeed(false);
    else if (key === "c" || key === "C") {
      if (!event.repeat) this.correct();
    } else if (key === "," || key === ".") this.question?.player?.step(key === "." ? 1 : -1);
    else if (key === "t" || key === "T") this.toggleTheme();
    else if (key === "?") this.openKeys();
    else if (/^[1-9]$/.test(key))
      return !event.repeat && !!this.question?.player && this.reasons.toggle(Number(key) - 1);
    else return false;
    return true;
  }
}

async function begin() {
  if (!token)
    return showMessageOnly(
      "Open your personal link",
      "It ends in “#token=” and a long word. Ask the person who runs the training for it.",
    );
  try {
    const me = await get("/api/me");
    if (me.role === "owner") return location.replace(addressOf(`/dashboard${location.hash}`));
    return new LabelPage(me);
  } catch (failure) {
    if (failure.status !== undefined && !failure.passing)
      return showMessageOnly("This link does not work", failure.message);
    showBanner(failure.status === undefined ? "Offline: trying to reach the server again." : failure.message);
    return setTimeout(begin, 2000);
  }
}

begin();
