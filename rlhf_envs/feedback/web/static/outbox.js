// Answers and undos on their way to the server: kept on this device, sent in order, again and again until acknowledged.
// Each carries a token under which the server stores it once, so sending it twice changes nothing.
import { post } from "./api.js";

const SHORTEST_PAUSE = 500;
const LONGEST_PAUSE = 10_000;

export class Outbox {
  /**
   * @param space names the store and the annotator: nothing is ever sent to another store or under another name.
   * @param on what to do: acknowledged(operation, result), refused(operation, sentence), delayed(refusal or null),
   *   invalid(sentence) when the link has ended, changed().
   */
  constructor(space, on) {
    this.space = `rlhf-envs-outbox/${space}/`;
    this.on = on;
    this.sequence = 0;
    this.sending = false;
    this.pause = SHORTEST_PAUSE;
    this.entries = this.#read();
    addEventListener("online", () => this.flush());
  }

  get length() {
    return this.entries.length;
  }

  /** Ids of queries whose answer is here and not taken back. */
  get pending() {
    const answered = [];
    for (const { path, body } of this.entries) {
      if (path === "/api/answers") answered.push(body.query);
      else if (path === "/api/corrections") answered.push(null);
      else answered.pop();
    }
    return new Set(answered.filter((query) => query !== null));
  }

  add(path, body) {
    this.sequence += 1;
    const key = `${this.space}${String(Date.now()).padStart(15, "0")}-${String(this.sequence).padStart(6, "0")}`;
    this.entries.push({ key, path, body });
    try {
      localStorage.setItem(key, JSON.stringify({ path, body }));
    } catch {
      /* full or off: it lives in this tab */
    }
    this.on.changed();
    this.flush();
  }

  async flush() {
    if (this.sending) return;
    this.sending = true;
    clearTimeout(this.timer);
    try {
      while (this.entries.length) {
        if (!(await this.#sendFirst())) return;
      }
    } finally {
      this.sending = false;
    }
  }

  /** Whether to go on with the next. */
  async #sendFirst() {
    const first = this.entries[0];
    try {
      const result = await post(first.path, first.body);
      this.pause = SHORTEST_PAUSE;
      this.#drop(first);
      this.on.delayed(null);
      this.on.acknowledged(first, result);
      return true;
    } catch (failure) {
      if (failure.status === 401) {
        this.on.invalid(failure.message);
        return false;
      }
      if (failure.status !== undefined && !failure.passing) {
        this.#drop(first);
        this.on.refused(first, failure.message);
        return true;
      }
      this.on.delayed(failure);
      this.timer = setTimeout(() => this.flush(), (failure.retryAfter ?? 0) * 1000 || this.pause);
      this.pause = Math.min(2 * this.pause, LONGEST_PAUSE);
      return false;
    }
  }

  #drop(operation) {
    this.entries.shift();
    try {
      localStorage.removeItem(operation.key);
    } catch {
      /* it never was there */
    }
    this.on.changed();
  }

  #read() {
    try {
      const keys = Object.keys(localStorage)
        .filter((key) => key.startsWith(this.space))
        .sort();
      return keys.map((key) => ({ key, ...JSON.parse(localStorage.getItem(key)) }));
    } catch {
      return [];
    }
  }
}
