// Which queries come next: what the server last said, brought together with what was answered here since.

export const FEWEST = 4; // the one on screen and three ahead

export class Queue {
  constructor() {
    this.next = [];
    this.answered = new Map(); // ids that were answered here and not taken back, in order
    this.version = 0;
  }

  get current() {
    return this.next[0];
  }

  /** The current query was answered. */
  advance() {
    this.version += 1;
    const query = this.next.shift();
    this.answered.set(query.id, query);
    return query;
  }

  /** A clip was corrected: another answer, which `token` names until the server has said to which query. */
  correct(token) {
    this.version += 1;
    this.answered.set(token, undefined);
  }

  /** The correction of this token has become the answer to a query; or, without one, it was refused. */
  corrected(token, query) {
    const known = [...this.answered].map(([key, value]) => (key === token ? [query?.id, query] : [key, value]));
    this.answered = new Map(known.filter(([key]) => key !== undefined));
  }

  /** The latest answer was taken back; its query comes first again, if it was answered here. */
  back() {
    this.version += 1;
    const latest = [...this.answered.keys()].pop();
    if (latest === undefined) return undefined;
    const query = this.answered.get(latest);
    this.answered.delete(latest);
    if (query) this.next.unshift(query);
    return query;
  }

  /** The server knows better: this query is not to be answered here. */
  forget(id) {
    this.version += 1;
    this.answered.delete(id);
    this.next = this.next.filter((query) => query.id !== id);
  }

  /**
   * Take in what the server listed.
   *
   * @param listed its queries.
   * @param complete whether nothing happened here since it was asked, so that its list is the whole truth.
   * @param pending ids of queries whose answers were still on their way when it was asked.
   */
  merge(listed, complete, pending = new Set()) {
    const known = new Map(this.next.map((query) => [query.id, query]));
    if (!complete) {
      const news = (query) => !known.has(query.id) && !this.answered.has(query.id) && !pending.has(query.id);
      this.next.push(...listed.filter(news));
      return;
    }
    const next = listed.map((query) => Object.assign(known.get(query.id) ?? query, query));
    next.forEach((query) => this.answered.delete(query.id));
    // Who is looking at a clip goes on looking at it.
    const current = this.current && next.find((query) => query.id === this.current.id);
    this.next = current ? [current, ...next.filter((query) => query !== current)] : next;
  }
}
