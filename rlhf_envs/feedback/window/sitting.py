"""What is going on in the window: the question, its clips, and what a person's wishes do to them."""

from __future__ import annotations

import time
from collections.abc import Callable

from rlhf_envs.feedback.guidance import Guidance
from rlhf_envs.feedback.window import wording
from rlhf_envs.feedback.window.desk import Desk
from rlhf_envs.feedback.window.entries import DeskState
from rlhf_envs.feedback.window.gallery import Clip, Gallery, Wish
from rlhf_envs.feedback.window.intents import Action, Intent
from rlhf_envs.feedback.window.playback import Playback, next_speed
from rlhf_envs.feedback.window.questions import Comparison, Question, Ranking, Rating, Verdict, question_of
from rlhf_envs.feedback.window.view import Chip, Moment, Scene
from rlhf_envs.queries import Choice, Kind, Query

UNSEEN_SECONDS = 0.12
"""Nobody can have judged what has been on screen for less: a key that bounces must not answer the next question."""

_LIT_SECONDS = 0.36
_LIT_STEPS = 4
_AT_ONCE_SECONDS = 0.1
_MOST_REASONS = 9
_OTHER_THEME = {"light": "dark", "dark": "light"}
_ANSWERS = (Action.LEFT, Action.RIGHT, Action.TIE, Action.SKIP, Action.CONFIRM)


class Sitting:
    """One person in front of the window. Times are seconds of the clock that the caller goes by.

    Args:
        desk: where answers go and queries come from.
        gallery: where clips come from.
        guidance: what the person is told.
        theme, speed: to begin with.

    Attributes:
        theme: "light" or "dark".
        known: what the desk knows.
        query: the question on screen, or None.
        clips: those of the question on screen, or None while they are not painted.
        pointed: what the mouse points at.
        carried: the clip of a ranking that the mouse carries, and where it is; or None.
        given: how many answers were given here.
        answered_at: when the latest answer was given, until the next question has been on screen; then None.
        left: whether the person wants to end.
    """

    def __init__(self, desk: Desk, gallery: Gallery, guidance: Guidance, theme: str, speed: float) -> None:
        self.theme = theme
        self.known = DeskState()
        self.query: Query | None = None
        self.clips: tuple[Clip, ...] | None = None
        self.pointed: Intent | None = None
        self.carried: tuple[int, tuple[int, int]] | None = None
        self.given = 0
        self.answered_at: float | None = None
        self.left = False
        self._desk, self._gallery, self._guidance, self._speed = desk, gallery, guidance, speed
        self._last: Query | None = None
        self._question: Question = Comparison()
        self._playback: Playback | None = None
        self._began = 0.0
        self._began_at = 0.0
        self._reasons: set[int] = set()
        self._done: tuple[Intent, float] | None = None
        self._warned_at: float | None = None

    @property
    def kind(self) -> Kind:
        """Of the question on screen."""
        return Kind.COMPARISON if self.query is None else self.query.kind

    def follow(self, now: float, clip_size: Callable[[Scene], tuple[int, int]]) -> None:
        """Take in what has come from the store and from the painter, and what time has brought.

        Args:
            now: the time.
            clip_size: how large the clips of a scene are shown.
        """
        self.known = self._desk.state()
        queries = self.known.queries
        query = queries[0] if queries else None
        if (query and query.id) != (self.query and self.query.id):
            self.query, self.clips, self._playback = query, None, None
            self._reasons = set()
            self._question = Comparison() if query is None else question_of(query)
        if query is None:
            self.answered_at = None
        # The query answered last stays painted, because it may be taken back.
        wanted = [*queries, *([self._last] if self._last is not None and self._last not in queries else [])]
        self._gallery.want([Wish(wish, clip_size(self._backdrop(wish))) for wish in wanted], self.theme)
        if self.query is not None:
            self.clips = self._gallery.clips(self.query) or self.clips
        if self.clips is not None and self._playback is None:
            self._begin(self.clips, now)
        if self._playback is not None and not any(self._problems()):
            self._question.follow(self._playback, now)

    def was_shown(self, now: float) -> float | None:
        """To be told after each picture on screen: seconds since the answer before, when the next question appears."""
        self._desk.carry_on()
        if self._playback is None or self.answered_at is None:
            return None
        passed, self.answered_at = now - self.answered_at, None
        return passed

    def act(self, intent: Intent, now: float) -> None:
        """Do what the person wants."""
        action, direction = intent.action, int(intent.value)
        if action is not Action.LEAVE:
            self._warned_at = None
        if action is Action.LEAVE:
            self.leave(now)
        elif action is Action.THEME:
            self.theme = _OTHER_THEME[self.theme]
        elif action is Action.UNDO:
            self._done = (intent, now)
            if not self._question.take_back():
                self._desk.take_back()
        elif action is Action.PACE:
            self._speed = next_speed(self._speed, direction)
            if self._playback is not None:
                self._playback.change_speed(self._speed, now)
        elif self.query is not None and self._playback is not None:
            self._act_on_question(self.query, self._playback, intent, now)

    def somebody_is_there(self) -> None:
        """To be told whenever the person does anything."""
        self._desk.somebody_is_there()

    def leave(self, now: float) -> None:
        """End; where answers would be lost by it, only when it is wanted twice."""
        if self._warned_at is not None and now - self._warned_at < _AT_ONCE_SECONDS:
            # Closing a window is told twice, as the end of the window and of the program.
            return
        in_danger = self.known.unsaved > 0 and (self.known.trouble is not None or self.known.overdue)
        self.left = self._warned_at is not None or not in_danger
        self._warned_at = now

    def scene(self, now: float) -> Scene:
        """Everything that is to be seen but the moving pictures."""
        known = self.known
        base = Scene(self.theme, rubric=self._guidance.rubric) if self.query is None else self._backdrop(self.query)
        order = self._question.order if isinstance(self._question, Ranking) and self.query is not None else None
        places = () if order is None else tuple(order.index(n) + 1 if n in order else None for n in range(base.clips))
        leaving = wording.leaving(known.unsaved) if self._warned_at is not None and known.unsaved else None
        return Scene(
            base.theme,
            base.kind,
            base.clips,
            base.rubric,
            wording.waiting(known) if self.query is None else None,
            self._problems(),
            tuple(Chip(chip.label, chip.number, n in self._reasons) for n, chip in enumerate(base.chips)),
            places,
            self._question.ready,
            self._speed,
            self._playback is not None and self._playback.paused,
            self._lit(now),
            self.pointed,
            wording.status(known.progress),
            wording.training(known.progress, known.heard_ago),
            wording.share(known.progress),
            wording.curve(known.progress),
            leaving or wording.trouble(known),
        )

    def moment(self, now: float) -> Moment:
        """What is to be seen of the moving pictures."""
        if self._playback is None or self.clips is None:
            return Moment()
        rating = self._question if isinstance(self._question, Rating) else None
        return Moment(
            self._playback.index(now),
            self._playback.frames,
            () if rating is None else tuple(rating.ratings),
            0.0 if rating is None else rating.level,
            self.carried,
            tuple(id(clip) for clip in self.clips),
        )

    def _begin(self, clips: tuple[Clip, ...], now: float) -> None:
        frames = max([len(clip.frames) for clip in clips] + [1])
        loops = self.kind is not Kind.RATING
        self._playback = Playback(frames, clips[0].frames_per_second, self._speed, now, loops)
        self._began, self._began_at = now, time.time()

    def _act_on_question(self, query: Query, playback: Playback, intent: Intent, now: float) -> None:
        action, number = intent.action, int(intent.value)
        if action is Action.REPLAY:
            if isinstance(self._question, Rating) and not playback.paused:
                self._question.begin_again()
                playback.restart(now)
            else:
                playback.replay(now)
        elif action is Action.STEP:
            playback.step(number, now)
        elif action is Action.REASON:
            if number < min(len(self._guidance.reasons), _MOST_REASONS):
                self._reasons ^= {number}
        elif action not in _ANSWERS or now - self._began >= UNSEEN_SECONDS:
            verdict = Verdict(Choice.SKIP) if action is Action.SKIP else None
            if verdict is None and not any(self._problems()):
                verdict = self._question.act(intent)
            if verdict is not None:
                self._give(query, verdict, intent, now)

    def _give(self, query: Query, verdict: Verdict, intent: Intent, now: float) -> None:
        names = list(self._guidance.reasons)
        self._desk.give(query, verdict, [names[number] for number in sorted(self._reasons)], self._began_at)
        self._last, self._done, self.answered_at = query, (intent, now), now
        self.given += 1

    def _backdrop(self, query: Query) -> Scene:
        """What the scene of a query has in common at all times, which is what its layout depends on."""
        labels = list(self._guidance.reasons.values())[:_MOST_REASONS]
        numbered = query.kind is not Kind.RANKING
        chips = tuple(Chip(label, n + 1 if numbered else None, False) for n, label in enumerate(labels))
        return Scene(self.theme, query.kind, len(query.segments), self._guidance.rubric, chips=chips)

    def _problems(self) -> tuple[str | None, ...]:
        return tuple(clip.problem for clip in self.clips or ())

    def _lit(self, now: float) -> tuple[Intent, float] | None:
        if self._done is None:
            return None
        intent, since = self._done
        left = 1 - (now - since) / _LIT_SECONDS
        if left <= 0:
            self._done = None
            return None
        return intent, -(-left * _LIT_STEPS // 1) / _LIT_STEPS
