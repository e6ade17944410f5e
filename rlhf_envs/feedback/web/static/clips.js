// Films: fetched ahead with the token, and played in step.
import { getBlob } from "./api.js";

const HOLD = 200; // milliseconds on the last frame, so that the end is seen
const APART = 0.05; // seconds that clips may run apart before they are brought together
const SLOWEST = 0.25;
const FASTEST = 4;

/** The films of the next queries, fetched ahead. */
export class FilmCache {
  #films = new Map();

  /** Addresses of a query's films in this theme, as a promise; it fails with a sentence if they cannot be shown. */
  get(query, theme) {
    const key = `${query.id}/${theme}`;
    if (!this.#films.has(key)) {
      const films = Promise.all(query.clips.map((path) => this.#fetch(`${path}?theme=${theme}`)));
      films.catch(() => this.#films.delete(key));
      this.#films.set(key, films);
    }
    return this.#films.get(key);
  }

  /** Let go of all films but those of these queries. */
  keep(queries) {
    const ids = new Set(queries.map((query) => String(query.id)));
    for (const [key, films] of this.#films) {
      if (ids.has(key.split("/")[0])) continue;
      this.#films.delete(key);
      films.then(
        (addresses) => addresses.forEach((address) => URL.revokeObjectURL(address)),
        () => {},
      );
    }
  }

  async #fetch(path) {
    for (let pause = 300; ; pause = Math.min(2 * pause, 5000)) {
      try {
        return URL.createObjectURL(await getBlob(path));
      } catch (failure) {
        if (failure.status !== undefined && !failure.passing) throw failure;
        await new Promise((resume) => setTimeout(resume, pause));
      }
    }
  }
}

/** Plays videos in step: in a loop, or once where the visitor's system asks for little motion. */
export class Player {
  constructor(videos, framesPerSecond, { loop = true, onEnd = () => {} } = {}) {
    this.videos = videos;
    this.frame = 1 / framesPerSecond;
    this.loop = loop && !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.onEnd = onEnd;
    this.speed = 1;
    this.playing = false;
    this.stopped = false;
  }

  /** Resolves when every video can be played to its end. */
  async ready() {
    await Promise.all(
      this.videos.map(
        (video) =>
          new Promise((resolve, reject) => {
            if (video.readyState >= 4) return resolve();
            video.addEventListener("canplaythrough", resolve, { once: true });
            video.addEventListener("error", () => reject(new Error("This browser cannot play the clip.")), {
              once: true,
            });
            video.load();
          }),
      ),
    );
  }

  replay() {
    if (this.stopped) return;
    clearTimeout(this.holding);
    this.holding = undefined;
    for (const video of this.videos) {
      video.playbackRate = this.speed;
      video.currentTime = 0;
      video.play().catch(() => {});
    }
    this.playing = true;
    cancelAnimationFrame(this.tick);
    this.tick = requestAnimationFrame(() => this.#follow());
  }

  /** One frame on (1) or back (-1), standing still. */
  step(direction) {
    this.pause();
    const now = Math.round(this.videos[0].currentTime / this.frame - 0.5) + direction;
    for (const video of this.videos) {
      const last = Math.round(video.duration / this.frame) - 1;
      video.currentTime = (Math.min(Math.max(now, 0), last) + 0.5) * this.frame;
    }
  }

  pause() {
    this.playing = false;
    clearTimeout(this.holding);
    this.holding = undefined;
    this.videos.forEach((video) => video.pause());
  }

  setSpeed(speed) {
    this.speed = Math.min(Math.max(speed, SLOWEST), FASTEST);
    this.videos.forEach((video) => {
      video.playbackRate = this.speed;
    });
    return this.speed;
  }

  stop() {
    this.pause();
    this.stopped = true;
    cancelAnimationFrame(this.tick);
  }

  #follow() {
    if (!this.playing) return;
    const [leader, ...others] = this.videos;
    if (this.videos.every((video) => video.ended)) {
      if (this.holding === undefined) {
        this.holding = setTimeout(() => {
          this.holding = undefined;
          if (this.loop) this.replay();
          else this.#end();
        }, HOLD);
      }
    } else {
      for (const video of others) {
        if (!leader.ended && !video.ended && Math.abs(video.currentTime - leader.currentTime) > APART) {
          video.currentTime = leader.currentTime;
        }
      }
    }
    this.tick = requestAnimationFrame(() => this.#follow());
  }

  #end() {
    this.playing = false;
    this.onEnd();
  }
}
