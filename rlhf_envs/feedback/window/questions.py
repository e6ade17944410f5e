"""The question on screen and what has been said to it so far, one class per kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from rlhf_envs.feedback.window.intents import Action, Intent
from rlhf_envs.feedback.window.playback import Playback
from rlhf_envs.queries import Choice, Kind, Query

RISE_PER_SECOND = 2.0
"""How fast a held key moves a rating, which goes from -1 to 1."""


@dataclass(frozen=True)
class Verdict:
    """A complete answer: a choice, or a payload for kinds of question that have none."""

    choice: Choice | None
    payload: Mapping[str, Any] | None = None


class Question(Protocol):
    """What a person does to a question until they have answered it."""

    @property
    def ready(self) -> bool:
        """Whether `CONFIRM` would answer it."""

    def act(self, intent: Intent) -> Verdict | None:
        """Take in what a person wants; the answer, if that completes it."""

    def take_back(self) -> bool:
        """Take back the last thing said, if it was said to this question; whether it was."""

    def follow(self, playback: Playback, now: float) -> None:
        """Take in what time has brought."""


class Comparison:
    """Which of two is better: any choice answers it."""

    ready = False

    def act(self, intent: Intent) -> Verdict | None:
        """See `Question`."""
        choices = {Action.LEFT: Choice.LEFT, Action.RIGHT: Choice.RIGHT, Action.TIE: Choice.TIE}
        choice = choices.get(intent.action)
        return None if choice is None else Verdict(choice)

    def take_back(self) -> bool:
        """See `Question`."""
        return False

    def follow(self, playback: Playback, now: float) -> None:
        """See `Question`."""


class Ranking:
    """Clips in order, best first.

    Args:
        clips: how many there are.

    Attributes:
        order: the screen positions that have been placed, best first. The last place goes without saying.
    """

    def __init__(self, clips: int) -> None:
        self.clips = clips
        self.order: tuple[int, ...] = ()

    @property
    def ready(self) -> bool:
        """See `Question`."""
        return len(self.order) == self.clips

    def act(self, intent: Intent) -> Verdict | None:
        """See `Question`."""
        if intent.action is Action.PLACE:
            self._place(int(intent.value))
        elif intent.action is Action.MOVE:
            self._move(int(intent.value), intent.onto)
        if intent.action is Action.CONFIRM and self.ready:
            return Verdict(None, {"ranking": list(self.order)})
        return None

    def take_back(self) -> bool:
        """See `Question`."""
        if not self.order:
            return False
        # The last place was filled in together with the one before it.
        self.order = self.order[: -2 if self.ready else -1]
        return True

    def follow(self, playback: Playback, now: float) -> None:
        """See `Question`."""

    def _place(self, clip: int) -> None:
        if clip in self.order:
            self.order = tuple(placed for placed in self.order if placed != clip)
        elif clip < self.clips:
            self.order += (clip,)
            self._fill()

    def _move(self, clip: int, onto: int) -> None:
        rest = [placed for placed in self.order if placed != clip]
        place = self.order.index(onto) if onto in self.order else len(rest)
        self.order = (*rest[:place], clip, *rest[place:])
        self._fill()

    def _fill(self) -> None:
        if len(self.order) == self.clips - 1:
            self.order += tuple(set(range(self.clips)) - set(self.order))


class Rating:
    """How good each step of a clip is, from -1 to 1, said while it plays.

    Args:
        steps: how many steps the clip has.

    Attributes:
        level: what is being said.
        ratings: what was said of the steps shown so far.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.level = 0.0
        self.ratings: list[float] = []
        self._direction = 0.0
        self._shown = -1
        self._then: float | None = None

    @property
    def ready(self) -> bool:
        """See `Question`."""
        return len(self.ratings) == self.steps

    def act(self, intent: Intent) -> Verdict | None:
        """See `Question`."""
        if intent.action is Action.RATE:
            self._direction = intent.value
        elif intent.action is Action.LEVEL:
            self.level = min(max(intent.value, -1.0), 1.0)
            self._say()
        elif intent.action is Action.CONFIRM and self.ready:
            return Verdict(None, {"ratings": [round(rating, 3) for rating in self.ratings]})
        return None

    def take_back(self) -> bool:
        """See `Question`."""
        return False

    def begin_again(self) -> None:
        """Forget what was said, because the clip is played again."""
        self.level, self.ratings, self._shown = 0.0, [], -1

    def follow(self, playback: Playback, now: float) -> None:
        """A held key moves the level; the steps passed since the last call get it. Steps seen again show their own."""
        passed = 0.0 if self._then is None else now - self._then
        self._then = now
        frame = playback.index(now)
        if frame != self._shown and frame < len(self.ratings) and self._direction == 0:
            self.level = self.ratings[frame]
        self.level = min(max(self.level + self._direction * RISE_PER_SECOND * passed, -1.0), 1.0)
        self._shown = frame
        while len(self.ratings) <= frame:
            self.ratings.append(self.level)
        if self._direction:
            self._say()

    def _say(self) -> None:
        if 0 <= self._shown < len(self.ratings):
            self.ratings[self._shown] = self.level


def question_of(query: Query) -> Question:
    """A query as a question to which nothing has been said yet."""
    if query.kind is Kind.RANKING:
        return Ranking(len(query.segments))
    if query.kind is Kind.RATING:
        return Rating(len(query.segments[0]))
    return Comparison()
