"""Corrections on the page: what a person's keys lead to, from a recorded state on, as pictures and as a segment.

Nothing is kept between requests: each names all keys since the clip was taken over, which give the same again. So a
server that was restarted goes on, and a correction that a browser kept while it had no connection can be stored later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from rlhf_envs.clips import ClipPainter, clip_painter, encode_picture
from rlhf_envs.clips.painting import draw_over
from rlhf_envs.environment import StoredEnvironment
from rlhf_envs.feedback.correcting import Corrector, can_be_corrected, corrector
from rlhf_envs.feedback.store.errors import AnswerRefusedError
from rlhf_envs.feedback.web.clips import FRAME_SIZE
from rlhf_envs.queries import Query
from rlhf_envs.segments import Segment

MOST_STEPS = 1000
"""Of a segment that can be corrected on the page: each picture takes as many steps as there were keys before it."""

_NOBODY = "Nobody can act in these clips, so they cannot be corrected."

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Frame:
    """What an annotator sees while acting.

    Attributes:
        picture: as a JPEG.
        over: whether the keys have ended the episode.
    """

    picture: bytes
    over: bool


@dataclass(frozen=True)
class TakenOver:
    """What an annotator did: the segment, from which step on, and which keys were held in each step since then.

    Attributes:
        segment: the original.
        step: counted from 0.
        held: names of keys, as pygame names them, for each step.
    """

    segment: Segment
    step: int
    held: Sequence[Sequence[str]]


class WebCorrections:
    """Acts in the environment of a store, in one thread of its own, to which its simulator is bound.

    Args:
        environment: of the store.
    """

    def __init__(self, environment: StoredEnvironment) -> None:
        self._environment = environment
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="corrections")
        self._corrector: Corrector | None = None
        self._looked = False
        self._painters: dict[str, ClipPainter] = {}

    def close(self) -> None:
        """Finish what is in work."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def corrector(self) -> Corrector | None:
        """What acts, of which only the controls and the pace may be read; None where nobody can act."""
        if self._looked:  # nobody who only asks waits for those who act
            return self._corrector
        return await self._run(self._made)

    async def can_correct(self, query: Query) -> bool:
        """Whether the clips of a query can be taken over on a page."""
        fits = can_be_corrected(query) and len(query.segments[0]) <= MOST_STEPS
        return fits and await self.corrector() is not None

    async def frame(self, taken: TakenOver, theme: str) -> Frame:
        """What is to be seen after these keys.

        Raises:
            AnswerRefusedError: if it cannot be acted in, not from this step on, or not for so many steps.
        """
        return await self._run(lambda: self._frame(taken, theme))

    async def segment(self, taken: TakenOver) -> Segment:
        """The corrected segment, once there are keys for all its steps.

        Raises:
            AnswerRefusedError: as `frame`, or if there are not.
        """
        return await self._run(lambda: _acted(self._made(), taken, to_its_end=True).segment())

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _made(self) -> Corrector | None:
        if not self._looked:
            self._corrector, self._looked = corrector(self._environment.ref), True
        return self._corrector

    def _frame(self, taken: TakenOver, theme: str) -> Frame:
        acted = _acted(self._made(), taken)
        if theme not in self._painters:
            self._painters[theme] = clip_painter(self._environment.required, FRAME_SIZE, theme)
        pixels = self._painters[theme].frame(acted.state)
        return Frame(encode_picture(draw_over(pixels, theme) if acted.over else pixels, "jpg"), acted.over)


def _acted(acting: Corrector | None, taken: TakenOver, to_its_end: bool = False) -> Corrector:
    """The corrector after these keys."""
    if acting is None:
        raise AnswerRefusedError(_NOBODY)
    try:
        acting.begin(taken.segment, taken.step)
        for held in taken.held:
            acting.act_by_keys(held)
        if to_its_end and not acting.complete:
            raise ValueError(f"{len(taken.segment) - acting.steps} steps remain to be done.")
    except ValueError as error:
        raise AnswerRefusedError(str(error)) from error
    return acting
