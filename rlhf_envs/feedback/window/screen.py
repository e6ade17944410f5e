"""What is going on in the window: the question on screen, its clips, and what the person does to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import NamedTuple

from rlhf_envs.environment import StoredEnvironment
from rlhf_envs.envs.palette import THEMES
from rlhf_envs.feedback.correcting import Corrector, can_be_corrected
from rlhf_envs.feedback.guidance import Guidance
from rlhf_envs.feedback.outbox import Outbox, OutboxState, Response
from rlhf_envs.feedback.practice import RIGHT_TEXT, WRONG_TEXT, KnownAnswer, known_answer
from rlhf_envs.feedback.window.clips import Clip, ClipCache, Playback, next_speed
from rlhf_envs.feedback.window.drawing import NEXT, Chip, Layout, View
from rlhf_envs.feedback.window.questions import (
    CONFIRM,
    PRESS,
    REPLAY,
    SKIP,
    UNDO,
    Action,
    Arrangement,
    Picture,
    Question,
)
from rlhf_envs.feedback.window.questions.comparison import LEFT, RIGHT, ComparisonQuestion
from rlhf_envs.feedback.window.questions.correction import CORRECT, CORRECT_CONTROL, WindowCorrection
from rlhf_envs.feedback.window.questions.ranking import RankingQuestion
from rlhf_envs.feedback.window.questions.rating import RatingQuestion
from rlhf_envs.feedback.window.questions.strength import StrengthQuestion
from rlhf_envs.queries import Choice, Purpose, Query
from rlhf_envs.registry import Registry

QUESTIONS: Registry[type[Question]] = Registry("question screen")
"""The question screen of each kind of feedback, by the kind's name. Kinds without one are not shown in the window."""

QUESTIONS.register("comparison", ComparisonQuestion)
QUESTIONS.register("ranking", RankingQuestion)
QUESTIONS.register("rating", RatingQuestion)
QUESTIONS.register("strength", StrengthQuestion)

UNSEEN_SECONDS = 0.12
"""What has been on screen for less cannot have been judged: a key that bounces must not answer the next question."""

_HINT_SECONDS = 4.5
_LIT_SECONDS = 0.36
_LIT_STEPS = 4
_SAME_EVENT_SECONDS = 0.1
_MOST_REASONS = 9
_OTHER_THEME = {"light": "dark", "dark": "light"}
_MOVES = ("rate", "level", "move")
_NEXT_ACTIONS = (NEXT, CONFIRM, REPLAY, LEFT, RIGHT)


class Moment(NamedTuple):
    """What changes from frame to frame: the frame, what else of the question moves, and which pictures are shown."""

    frame: int = 0
    motion: Hashable = None
    floating: Hashable = None
    pictures: tuple[int, ...] = ()


class LabellingScreen:
    """One person in front of the window. Times are seconds of the clock that the caller goes by.

    Args:
        outbox: where answers go and queries come from.
        cache: where clips come from.
        guidance: what the person should look for.
        theme, speed: to begin with.
        introduces: whether to begin with what a new annotator has to know.
        environment: that the clips are from.
        corrector: acts in it where people may show what the agent should have done; None where they cannot.

    Attributes:
        theme: "light" or "dark".
        known: the state of the outbox.
        query, question: what is on screen, or None.
        clips: those of the question on screen, or None while they are not painted.
        answers: how many answers were submitted here.
        answered_at: when the latest answer was submitted, until the next question has been on screen; then None.
        closed: whether the person wants to end.
        introduces: whether what a new annotator has to know is still on screen.
        correction: what the person is about to correct, or None.
    """

    def __init__(
        self,
        outbox: Outbox,
        cache: ClipCache,
        guidance: Guidance,
        theme: str,
        speed: float,
        introduces: bool = False,
        environment: StoredEnvironment | None = None,
        corrector: Corrector | None = None,
    ) -> None:
        self.theme = theme
        self.correction: WindowCorrection | None = None
        self._environment, self._corrector = environment, corrector
        self.known = OutboxState()
        self.query: Query | None = None
        self.question: Question | None = None
        self.clips: tuple[Clip, ...] | None = None
        self.answers = 0
        self.answered_at: float | None = None
        self.closed = False
        self.introduces = introduces
        self._outbox, self._cache, self._guidance, self._speed = outbox, cache, guidance, speed
        self._last: Query | None = None
        self._asked: Question | None = None
        self._playback: Playback | None = None
        self._began = self._began_at = 0.0
        self._reasons: set[int] = set()
        self._feedback: tuple[bool, str] | None = None
        self._pointed: tuple[Action | None, int | None] = (None, None)
        self._done: tuple[Action, float] | None = None
        self._warned_at: float | None = None
        self._hint: tuple[str, float] | None = None

    def update(self, now: float, clip_size: Callable[[Query], tuple[int, int]]) -> None:
        """Take in what has come from the store and from the painter, and what time has brought.

        Args:
            now: the time.
            clip_size: how large the clips of a query are shown.
        """
        self.known = self._outbox.state()
        queries = self.known.queries
        if self._feedback is None and not self.introduces and self.correction is None:
            self._show(queries[0] if queries else None)
        # The query answered last stays painted, because it may be taken back.
        wanted = {query.id: query for query in (self.query, *queries, self._last) if query is not None}
        self._cache.request([(query, clip_size(query)) for query in wanted.values()], self.theme)
        if self.correction is not None:
            self._go_on_correcting(self.correction, self.correction.update(now), now)
            return
        if self.query is None or self.question is None:
            return
        self.clips = self._cache.clips(self.query) or self.clips
        if self.clips is not None and self._playback is None:
            frames = max([len(clip.frames) for clip in self.clips] + [1])
            rate = self.clips[0].frames_per_second * self.question.pace
            self._playback = Playback(frames, rate, self._speed, now, self.question.loops)
            self._began, self._began_at = now, time.time()
        if self._playback is not None and not any(self._problems()):
            self.question.follow(self._playback, now)

    def after_draw(self, now: float) -> float | None:
        """Call it after each picture on screen: seconds since the answer before, when the next question appears."""
        self._outbox.wake()
        if self._playback is None or self.answered_at is None:
            return None
        passed, self.answered_at = now - self.answered_at, None
        return passed

    def act(self, action: Action, now: float) -> None:
        """Do what the person wants."""
        if action.name == "close":
            self._close(now)
            return
        self._warned_at = self._hint = None
        if action == CONFIRM and self.question is None and self.known.summary:
            self._close(now)
            return
        if action.name == "theme":
            self.theme = _OTHER_THEME[self.theme]
        elif self.introduces:
            self.introduces = action not in _NEXT_ACTIONS
        elif action.name == "speed":
            self._speed = next_speed(self._speed, action.value)
            playback = self._playback if self.correction is None else self.correction.playback
            if playback is not None:
                playback.change_speed(self._speed, now)
            if self.correction is not None:
                self.correction.speed = self._speed
        elif self.correction is not None:
            self._go_on_correcting(self.correction, self.correction.act(action, now), now)
        elif action == UNDO:
            self._done = action, now
            self._undo()
        elif self.query is not None and self.question is not None and self._playback is not None:
            self._act_on_question(self.query, self.question, self._playback, action, now)
        else:
            self._refuse("The clips are still loading." if self.query else "There is nothing to answer now.", now)

    def refuse_key(self, now: float) -> None:
        """Say that a key which was pressed means nothing."""
        if self._feedback is not None:
            self._refuse("Enter goes on with the next clips.", now)
        elif self.question is not None:
            self._refuse(self.question.refusal(Action("unknown")), now)

    def press_while_correcting(self, key: int, pressed: bool, now: float) -> None:
        """Take in that a key, pygame's code of it, went down or came up while the person corrects a clip."""
        if self.correction is not None:
            self._hint = None if pressed else self._hint
            self._go_on_correcting(self.correction, self.correction.key(key, pressed, now), now)

    def point(self, event: str, place: tuple[int, int], layout: Layout, now: float) -> None:
        """Take in what the mouse does: `PRESS`, `MOVE` or `RELEASE` of its left button at a place, in pixels."""
        control, clip = layout.action_at(place), layout.arrangement.clip_at(place)
        if control is not None or self._feedback is not None:
            clip = None
        self._pointed = control, clip
        action = None
        if self.question is not None and self._feedback is None:
            action = self.question.point(event, place, clip, layout.arrangement)
        if action is None and event == PRESS:
            action = control
        if action is not None:
            self.act(action, now)

    def note_activity(self) -> None:
        """Call it whenever the person does anything."""
        self._outbox.note_activity()

    def view(self, now: float) -> View:
        """Everything that is to be seen but the moving pictures."""
        question = self.question
        if self.correction is not None:
            return self._view_of_correction(self.correction, now)
        if self.introduces:
            rows = tuple(self._guidance.legend.items())
            asked = ("What you are asked", f"{self._guidance.rubric} Enter begins.")
            return View(self.theme, message=asked, summary=rows, progress=self.known.progress)
        rubric = "" if self.known.summary else self._guidance.rubric
        base = View(self.theme, rubric=rubric, message=self._idle_text())
        if self.query is not None and question is not None:
            base = self.outline(self.query, question)
        warning = self.known.leaving_text() if self._warned_at is not None and self.known.unsaved else None
        return replace(
            base,
            look=None if question is None else question.look,
            ready=question is not None and question.ready,
            problems=self._problems(),
            chips=tuple(replace(chip, on=n in self._reasons) for n, chip in enumerate(base.chips)),
            feedback=self._feedback,
            speed=self._speed * (1.0 if question is None else question.pace),
            paused=self._playback is not None and self._playback.paused,
            lit=self._lit(now),
            pointed=self._pointed[0],
            pointed_clip=self._pointed[1],
            progress=self.known.progress,
            summary=self.known.summary if question is None else (),
            banner=warning or self.known.trouble_text(),
            hint=self._hint[0] if self._hint is not None and now < self._hint[1] else None,
        )

    def outline(self, query: Query, question: Question | None = None) -> View:
        """What the view of a query has in common at all times, which is what the size of its clips depends on."""
        question = question or QUESTIONS[query.kind](query)
        labels = list(self._guidance.reasons.values())[:_MOST_REASONS]
        chips = tuple(Chip(label, n + 1 if question.reason_keys else None, False) for n, label in enumerate(labels))
        practice = query.purpose is Purpose.PRACTICE
        rubric = self._guidance.rubric_for(query.kind)
        return View(self.theme, question, rubric=rubric, practice=practice, chips=chips)

    def moment(self, now: float) -> Moment:
        """What is to be seen of the moving pictures, as values: where two are equal, nothing is drawn again."""
        if self.correction is not None:
            return Moment(*self.correction.moment(now))
        if self.question is None or self._playback is None or self.clips is None:
            return Moment()
        pictures = tuple(id(clip) for clip in self.clips)
        return Moment(self._playback.index(now), self.question.motion, self.question.floating, pictures)

    def picture(self, now: float, arrangement: Arrangement) -> Picture | None:
        """What is needed to draw the moving pictures; None while there are none."""
        if self.correction is not None:
            return self.correction.picture(now, arrangement, self.theme)
        if self._playback is None or not self.clips:
            return None
        frame, frames = self._playback.index(now), self._playback.frames
        return Picture(frame, frames, self.clips, arrangement, THEMES[self.theme])

    def _refuse(self, sentence: str, now: float) -> None:
        self._hint = sentence, now + _HINT_SECONDS

    def _undo(self) -> None:
        if self._feedback is not None:
            # The same query comes again, with nothing said to it.
            self._feedback = None
            self._show(None)
        elif self.question is not None and self.question.undo():
            return
        self._outbox.undo()

    def _show(self, query: Query | None) -> None:
        if (query and query.id) != (self.query and self.query.id):
            self.query, self.clips, self._playback = query, None, None
            self.question = None if query is None else QUESTIONS[query.kind](query)
            if query is not None and self.question is not None and self._can_correct(query):
                self.question.controls = (*self.question.controls, CORRECT_CONTROL)
            self._reasons = set()
        if query is None:
            self.answered_at = None

    def _act_on_question(
        self, query: Query, question: Question, playback: Playback, action: Action, now: float
    ) -> None:
        seen = now - self._began >= UNSEEN_SECONDS
        if self._feedback is not None:
            if action in _NEXT_ACTIONS and seen:
                self._feedback = None
            elif action not in _NEXT_ACTIONS:
                self._refuse("Enter goes on with the next clips.", now)
        elif action == REPLAY:
            question.replay(playback, now)
        elif action.name == "step":
            playback.step(action.value, now)
        elif action == CORRECT:
            self._begin_to_correct(query, playback, now)
        elif action.name == "reason":
            if action.value < min(len(self._guidance.reasons), _MOST_REASONS):
                self._reasons ^= {action.value}
            else:
                self._refuse(f"There is no reason {action.value + 1}.", now)
        else:
            response = Response(Choice.SKIP) if action == SKIP else None
            if response is None and not any(self._problems()):
                before = question.look
                response = question.act(action)
                if response is None and (
                    action == CONFIRM or (action.name not in _MOVES and question.look == before and not question.ready)
                ):
                    self._refuse(question.refusal(action), now)
            if response is not None and seen:
                self._submit(query, question, response, action, now)

    def _can_correct(self, query: Query) -> bool:
        return self._corrector is not None and can_be_corrected(query)

    def _begin_to_correct(self, query: Query, playback: Playback, now: float) -> None:
        if self._corrector is None or self._environment is None or not self._can_correct(query):
            self._refuse("Nobody can act in these clips, so they cannot be corrected.", now)
        elif not self.clips or any(self._problems()):
            self._refuse("These clips cannot be shown, so they cannot be corrected.", now)
        else:
            ref = self._environment.required
            self.correction = WindowCorrection(self._corrector, ref, query, self.clips, playback, now, self._speed)
            self._asked, self.question = self.question, self.correction.question
            self._pointed = (None, None)

    def _go_on_correcting(self, correction: WindowCorrection, refusal: str | None, now: float) -> None:
        """Say what was not possible; store a correction that is made, and return to the question after it."""
        if refusal is not None:
            self._refuse(refusal, now)
        if correction.made is not None:
            self._outbox.correct(correction.made)
            self.answers += 1
            self._refuse("Stored: what you did counts as better. The question is still yours to answer.", now)
        if correction.made is not None or correction.given_up:
            correction.leave(now)
            self.correction, self.question, self._pointed = None, self._asked, (None, None)
            # The person has looked elsewhere: a key that bounces must not answer the question.
            self._began = now

    def _view_of_correction(self, correction: WindowCorrection, now: float) -> View:
        return View(
            self.theme,
            correction.question,
            look=correction.question.look,
            ready=correction.question.ready,
            rubric=correction.rubric(),
            speed=self._speed,
            paused=correction.playback.paused,
            pointed=self._pointed[0],
            pointed_clip=self._pointed[1],
            progress=self.known.progress,
            banner=self.known.trouble_text(),
            hint=self._hint[0] if self._hint is not None and now < self._hint[1] else None,
        )

    def _submit(self, query: Query, question: Question, response: Response, action: Action, now: float) -> None:
        names = list(self._guidance.reasons)
        self._outbox.submit(query, response, [names[number] for number in sorted(self._reasons)], self._began_at)
        self._last, self._done, self.answered_at = query, (action, now), now
        self.answers += 1
        known = known_answer(query)
        if known is not None and not any(self._problems()):
            self._explain(question, response, known, now)

    def _explain(self, question: Question, response: Response, known: KnownAnswer, now: float) -> None:
        """Show how the practice answer compares with the known one, until the person goes on."""
        question.reveal(response.choice, known.choice)
        right = response.choice == known.choice
        text = f"{RIGHT_TEXT if right else WRONG_TEXT} {known.explanation(known.choice.value)}"
        self._feedback, self._began, self.answered_at = (right, text), now, None

    def _close(self, now: float) -> None:
        """End; where answers would be lost by it, only when the person asks twice."""
        if self._warned_at is not None and now - self._warned_at < _SAME_EVENT_SECONDS:
            # Closing a window arrives as two events: the end of the window and of the program.
            return
        self.closed = self._warned_at is not None or not self.known.at_risk
        self._warned_at = now

    def _idle_text(self) -> tuple[str, str]:
        progress = self.known.progress
        if not self.known.fetched or progress is None:
            return "One moment", "The first clips are being fetched."
        headline, sentence = progress.idle_text()
        if self.known.summary:
            return headline, "Training is finished. Enter or Escape closes this window."
        return headline, f"{sentence} Escape closes this window." if progress.over else sentence

    def _problems(self) -> tuple[str | None, ...]:
        return tuple(clip.problem for clip in self.clips or ())

    def _lit(self, now: float) -> tuple[Action, float] | None:
        if self._done is None or now - self._done[1] >= _LIT_SECONDS:
            return None
        left = 1 - (now - self._done[1]) / _LIT_SECONDS
        return self._done[0], -(-left * _LIT_STEPS // 1) / _LIT_STEPS
