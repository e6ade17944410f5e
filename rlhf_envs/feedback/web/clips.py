"""Films for browsers, drawn and encoded in the background and stored in a folder; and clips in words."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np

from rlhf_envs.clips import ClipPainter, clip_painter, encode_mp4
from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.envs.palette import THEME_NAMES
from rlhf_envs.envs.views import TaskEnv
from rlhf_envs.segments import Segment

FRAME_SIZE = (600, 400)
_NICENESS = 5
_VERSION = 1
"""Counted up when films of the same segment come to look different."""


_MOST_REMEMBERED = 2000
_LEAST_SHARE = 0.02
"""Terms that make up less of all that happened are left out."""


class FilmCache:
    """Makes a film of each segment once, however often it is asked for.

    Films lie in the folder under a digest of what they show, so that they survive the server. Each thread draws with
    painters of its own, because simulators are bound to the thread that made them.

    Args:
        environment: of the store.
        folder: made if it is missing.
        workers: how many films are made at a time.

    Raises:
        ValueError: if the folder cannot be made.
    """

    def __init__(self, environment: StoredEnvironment, folder: Path, workers: int = 2) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"The folder for clips, {folder}, cannot be made: {error.strerror}.") from error
        self._environment = environment
        self._folder = folder
        self._own = threading.local()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="clips", initializer=_lower_priority)
        self._lock = threading.Lock()
        self._films: dict[tuple[str, str], Future[Path]] = {}
        described = {"environment": environment.to_json(), "size": FRAME_SIZE, "version": _VERSION}
        self._described = json.dumps(described, sort_keys=True).encode()
        # The first work of all, so that a request for the rate does not wait for films.
        self._rate = self._pool.submit(self._look_up_rate)

    @property
    def frames_per_second(self) -> float:
        """The rate of every film, known once a painter was made. Raises what a simulator raises that cannot be made."""
        with self._lock:
            if self._rate.done() and self._rate.exception() is not None:
                self._rate = self._pool.submit(self._look_up_rate)  # what was missing may be there by now
            rate = self._rate
        return rate.result()

    def film(self, name: str, load: Callable[[], Segment], theme: str) -> Future[Path]:
        """Where the film is, as soon as it is made; asking again for the same name and theme costs nothing.

        Args:
            name: names the segment within its store.
            load: loads the segment.
            theme: "light" or "dark".
        """
        with self._lock:
            film = self._films.get((name, theme))
            if film is None or (film.done() and not _is_stored(film)):
                film = self._films[name, theme] = self._pool.submit(self._make, load, theme)
            return film

    def cancel(self, names: Iterable[str]) -> None:
        """Do not make these films, where their making has not begun yet."""
        with self._lock:
            for name in names:
                for theme in THEME_NAMES:
                    film = self._films.get((name, theme))
                    if film is not None and film.cancel():
                        del self._films[name, theme]

    def close(self) -> None:
        """Let the films in work be finished, and make no more."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _make(self, load: Callable[[], Segment], theme: str) -> Path:
        segment = load()
        content = hashlib.blake2b(self._described, digest_size=16)
        content.update(theme.encode())
        content.update(segment.to_bytes())
        place = self._folder / f"{content.hexdigest()}.mp4"
        if not place.is_file():
            painter = self._painter(theme)
            film = encode_mp4(painter.frames(segment), frames_per_second=painter.frames_per_second)
            _write_film(place, film)
        return place

    def _look_up_rate(self) -> float:
        return self._painter(THEME_NAMES[0]).frames_per_second

    def _painter(self, theme: str) -> ClipPainter:
        painters: dict[str, ClipPainter] = self._own.__dict__.setdefault("painters", {})
        if theme not in painters:
            painters[theme] = clip_painter(self._environment.required, FRAME_SIZE, theme)
        return painters[theme]


class ClipWording:
    """Says of segments what happened in them; safe to share between threads.

    Args:
        environment: where they are from. Only tasks, of the suite or registered by users, have named terms; None for an
            environment that is not known here.
    """

    def __init__(self, environment: EnvironmentRef | None) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, str] = OrderedDict()
        self._env: TaskEnv | None = None
        try:
            if environment is not None and environment.is_native:
                env = environment.make(limited=False).unwrapped
                self._env = env if isinstance(env, TaskEnv) else None
        except ValueError:  # no such environment here
            pass

    def describe(self, segment: Segment) -> str:
        """One sentence, such as "Headway −2.1, progress 0.8; the episode is over after 12 of 25 steps."."""
        key = segment.digest
        with self._lock:
            if key not in self._known:
                self._known[key] = self._describe(segment)
                while len(self._known) > _MOST_REMEMBERED:
                    self._known.popitem(last=False)
            return self._known[key]

    def _describe(self, segment: Segment) -> str:
        lasting = len(segment) if segment.absorbing is None else int((~segment.absorbing).sum())
        parts = []
        if self._env is not None and segment.states is not None:
            # States of another version of the environment cannot be restored; whoever asks is told elsewhere that the
            # clip cannot be shown, and gets the question all the same.
            with suppress(ValueError):
                terms = self._terms(self._env, segment, lasting)
                names, weights = list(self._env.task.reward_weights), self._env.task.weights
                sums = terms.sum(0) * weights
                order = [n for n in np.argsort(-abs(sums)) if abs(sums[n]) > _LEAST_SHARE * abs(sums).sum()]
                told = [f"{self._env.task.describe_term(names[n])} {_number(float(sums[n]))}" for n in order]
                parts.append(", ".join(told) or "nothing that counts happens")
        if lasting < len(segment):
            parts.append(f"the episode is over after {lasting} of {len(segment)} steps")
        if not parts:
            parts.append(f"{len(segment)} steps, of which there is no description in words")
        text = "; ".join(parts)
        return f"{text[0].upper()}{text[1:]}."

    @staticmethod
    def _terms(env: TaskEnv, segment: Segment, lasting: int) -> np.ndarray:
        """What each term pays at each step, (steps, terms)."""
        assert segment.states is not None
        paid = np.zeros((max(lasting, 1), len(env.task.reward_weights)))
        for step in range(lasting):
            env.restore(segment.states[step])
            info = env.step(segment.actions[step])[4]
            paid[step] = list(info["reward_terms"].values())
        return paid


def _number(value: float) -> str:
    return f"{value:.1f}".replace("-", "−")


def _lower_priority() -> None:
    """Films can wait, answers cannot: on Linux, where threads have priorities of their own, this one gets less time."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _is_stored(film: Future[Path]) -> bool:
    return not film.cancelled() and film.exception() is None and film.result().is_file()


def _write_film(place: Path, content: bytes) -> None:
    """Write a film whole, under another name at first; two threads may write the same film at once."""
    handle, unfinished = tempfile.mkstemp(dir=place.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(unfinished, place)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
