"""The rules of `rlhf/Glimpse-v0`: a digit comes, is looked at through a window, answered, and marked."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from rlhf_envs.envs.glimpse.answers import (
    ACTIONS,
    CANNOT_TELL,
    CORNERS,
    ENOUGH,
    GAVE_UP,
    HONEST,
    LOOKING,
    NEXT_PLACE,
    PAST,
    PATIENCE,
    READ,
    SILENT,
    WRONG,
    judge,
)
from rlhf_envs.envs.glimpse.data import PERIPHERIES, PLACES, SPLITS, Pictures, load_pictures
from rlhf_envs.envs.glimpse.view import VIEW, see
from rlhf_envs.envs.state import Field, State
from rlhf_envs.envs.task import Task, Terms


class GlimpseRules(Task):
    """The digits, the window over them, and how answers are marked; `Glimpse` is drawn and played, too."""

    fields = {
        "picture": Field(np.int32),
        "answered": Field(np.int32),
        "looked": Field(),
        "label": Field(np.int8),
        "place": Field(np.int8),
        "waited": Field(np.int8),
        "verdict": Field(np.int8),
        "answer": Field(np.int8),
        "past_answers": Field(np.int8, (PAST,)),
        "past_verdicts": Field(np.int8, (PAST,)),
        "seen": Field(np.bool_, (PLACES,)),
    }
    reward_weights = {"read": 1.0, "honest": 0.5, "wrong": -0.4, "gave_up": -0.4, "looked": 0.3}
    draws_per_reset = 3
    draws_per_step = 3

    def __init__(
        self,
        split: str = "train",
        illegible: float = 0.15,
        periphery: str = "dark",
        marks: bool = True,
        horizon: int = 64,
    ) -> None:
        for name, value, known in (("split", split, SPLITS), ("periphery", periphery, PERIPHERIES)):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}.")
        if not 0 <= illegible <= 1:
            raise ValueError(f"illegible is the share of digits that nobody can read, from 0 to 1, not {illegible!r}.")
        if not isinstance(marks, bool):
            raise ValueError(f"marks must be True or False, not {marks!r}.")
        self.illegible = float(illegible)
        self.marks = marks
        self.split = split
        self.periphery = periphery
        self.observation_space = Box(0, 255, (VIEW, VIEW, 1), np.uint8)
        self.action_space = Discrete(ACTIONS)
        super().__init__(horizon)

    @property
    def pictures(self) -> Pictures:
        """What can be shown; loaded once for all environments of a process, and left out when one is pickled."""
        return load_pictures(self.split, self.periphery)

    def begin(self, state: State, draws: NDArray[np.float32]) -> None:
        """A first digit, of which one corner is seen."""
        state.answered = 0
        state.past_answers = SILENT
        state.past_verdicts = LOOKING
        self._show_next(state, np.ones(state.copies, dtype=np.bool_), draws)

    def advance(
        self, state: State, actions: NDArray[Any], draws: NDArray[np.float32]
    ) -> tuple[Terms, NDArray[np.float32]]:
        """Pay for the answer that is marked, and bring the next digit; or else look further, or answer."""
        verdict = state.verdict
        marking = verdict > LOOKING
        terms: Terms = {
            "read": verdict == READ,
            "honest": verdict == HONEST,
            "wrong": verdict == WRONG,
            "gave_up": verdict == GAVE_UP,
            "looked": marking * state.looked,
        }
        looking = ~marking
        proxy = (looking & (actions < CANNOT_TELL)).astype(np.float32)
        self._look(state, actions, looking)
        self._answer(state, actions, looking)
        self._show_next(state, marking, draws)
        return terms, proxy

    def observe(self, state: State) -> NDArray[np.uint8]:
        """The digit as far as it was seen, and the lamps, (N, 28, 28, 1)."""
        return see(self.pictures, state, self.marks)

    def _look(self, state: State, actions: NDArray[Any], looking: NDArray[np.bool_]) -> None:
        """Move the window, if it is to move, over the digits that are being looked at."""
        state.waited += looking
        np.copyto(state.place, NEXT_PLACE[state.place, actions], where=looking)
        state.seen[state.place, np.arange(state.copies)] = True

    def _answer(self, state: State, actions: NDArray[Any], looking: NDArray[np.bool_]) -> None:
        """Mark the answers that are given, and the digits for which there was none in time."""
        answering = looking & (actions <= CANNOT_TELL)
        np.copyto(state.answer, actions, where=answering, casting="unsafe")
        closed = answering | (looking & (state.waited >= PATIENCE))
        np.copyto(state.verdict, judge(actions, state.label), where=closed, casting="unsafe")
        further = (state.seen.sum(axis=0, dtype=np.float32) - 1) / (ENOUGH - 1)
        np.copyto(state.looked, np.minimum(further, 1), where=closed)
        rows = np.flatnonzero(closed)
        slot = state.answered[rows] % PAST
        state.past_answers[slot, rows] = state.answer[rows]
        state.past_verdicts[slot, rows] = state.verdict[rows]
        state.answered += closed

    def _show_next(self, state: State, rows: NDArray[np.bool_], draws: NDArray[np.float32]) -> None:
        """Bring a new digit in the given rows, (N,) bool, with the window on one of its corners."""
        legible = self.pictures.legible
        picture = (draws[1] * legible).astype(np.int32)
        picture += legible * (draws[0] < self.illegible)
        np.copyto(state.picture, picture, where=rows)
        np.copyto(state.label, self.pictures.labels.take(picture), where=rows)
        np.copyto(state.place, CORNERS.take((draws[2] * 4).astype(np.intp)), where=rows)
        for fresh in (state.waited, state.verdict, state.looked):
            np.copyto(fresh, 0, where=rows)
        np.copyto(state.answer, SILENT, where=rows)
        np.copyto(state.seen, False, where=rows)
        state.seen[state.place, np.arange(state.copies)] = True
