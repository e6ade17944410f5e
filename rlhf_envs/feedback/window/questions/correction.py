"""A correction in the window: choose the moment, act by keys or gamepad, look at both stretches, have it stored."""

from __future__ import annotations

import time
from collections.abc import Hashable
from enum import StrEnum
from uuid import uuid4

import numpy as np
import pygame
from numpy.typing import NDArray

from rlhf_envs.clips import ClipPainter, clip_painter
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.envs.palette import THEMES
from rlhf_envs.feedback.correcting import Corrector
from rlhf_envs.feedback.window.clips import Clip, Playback
from rlhf_envs.feedback.window.questions import (
    AGAIN,
    CONFIRM,
    REPLAY,
    Action,
    Arrangement,
    Control,
    Picture,
    Question,
    digit_keys,
)
from rlhf_envs.queries import Correction, Query
from rlhf_envs.segments import Segment

CORRECT = Action("correct")
CORRECT_CONTROL = Control(("C",), "correct", CORRECT)

_DISCARD, _ACT_AGAIN = Action("discard"), Action("act again")
_BACK, _FORTH = Action("step", -1), Action("step", 1)
_LEAVE = Control(("Esc",), "leave", _DISCARD)
_ENTER_KEYS = (pygame.K_RETURN, pygame.K_KP_ENTER)
_CLIP_OF_KEY = {key: action.value for key, action in digit_keys("take").items()}
_ARROW_NAMES = ("left", "right")

_KEYS = {
    pygame.K_COMMA: _BACK,
    pygame.K_PERIOD: _FORTH,
    pygame.K_SPACE: REPLAY,
    pygame.K_BACKSPACE: _ACT_AGAIN,
    pygame.K_ESCAPE: _DISCARD,
    **dict.fromkeys(_ENTER_KEYS, CONFIRM),
}


class Phase(StrEnum):
    """What a person is about to do: choose clip and moment, press the first key, act, or look at both stretches."""

    CHOOSE = "choose"
    READY = "ready"
    ACT = "act"
    REVIEW = "review"


class CorrectionQuestion(Question):
    """What is on screen meanwhile, by phase."""

    def __init__(self, query: Query) -> None:
        super().__init__(query)
        self._asked = self.clips
        self.phase = Phase.CHOOSE

    def enter(self, phase: Phase) -> None:
        """Go on to a phase."""
        self.phase = phase
        self.clips = {Phase.CHOOSE: self._asked, Phase.REVIEW: 2}.get(phase, 1)
        self.columns = 2 if self.clips == 2 else None
        self.controls = {
            Phase.CHOOSE: (Control((",",), "back", _BACK), Control((".",), "on", _FORTH), AGAIN, _LEAVE),
            Phase.REVIEW: (
                Control(("Enter",), "store", CONFIRM),
                Control(("Backspace",), "act again", _ACT_AGAIN),
                AGAIN,
                Control(("Esc",), "discard", _DISCARD),
            ),
        }.get(phase, (Control(("Backspace",), "from the start", _ACT_AGAIN), _LEAVE))

    @property
    def ready(self) -> bool:
        return self.phase is Phase.REVIEW

    @property
    def look(self) -> Hashable:
        return self.phase

    def clip_action(self, clip: int) -> Action | None:
        return Action("take", clip) if self.phase is Phase.CHOOSE else None

    def caption(self, clip: int) -> tuple[Control, ...]:
        if self.phase is Phase.CHOOSE:
            key = ("Enter",) if self.clips == 1 else (_ARROW_NAMES[clip],) if self.clips == 2 else (str(clip + 1),)
            return (Control(key, "take over", Action("take", clip)),)
        if self.phase is Phase.REVIEW:
            return (Control((), ("the agent", "you: better")[clip], filled=clip == 1),)
        return (Control((), "you act"),) if self.phase is Phase.ACT else (Control((), "press a key to start"),)


class WindowCorrection:
    """One correction, from the wish to make it until it is made or given up. Times are those of the screen.

    Args:
        corrector: acts in the environment.
        environment: draws what happens.
        query: on screen, with its segments.
        clips: of the query, in screen order.
        playback: where these stand.
        now: the time.
        speed: how many times as fast as natural a person acts.

    Attributes:
        question: what is on screen.
        playback: of the clips on screen.
        speed: see above.
        given_up: whether the person has left it.
        made: the correction that is to be stored, once the person wants that.
    """

    def __init__(
        self,
        corrector: Corrector,
        environment: EnvironmentRef,
        query: Query,
        clips: tuple[Clip, ...],
        playback: Playback,
        now: float,
        speed: float,
    ) -> None:
        self.question = CorrectionQuestion(query)
        self.playback = playback
        self.speed = speed
        self.given_up = False
        self.made: Correction | None = None
        self._corrector, self._environment, self._query, self._clips = corrector, environment, query, clips
        self._position = 0
        self._shown_at = 0.0
        self._due = 0.0
        self._segment: Segment | None = None
        self._painter: ClipPainter | None = None
        self._painted: tuple[Hashable, tuple[Clip, ...]] = (None, ())
        # A gamepad sends events only as long as its object exists.
        pygame.joystick.init()
        self._gamepads = [pygame.joystick.Joystick(number) for number in range(pygame.joystick.get_count())]
        self.question.enter(Phase.CHOOSE)
        self._asked_playback = None if playback.paused else playback
        if self._asked_playback is not None:
            playback.step(0, now)

    def leave(self, now: float) -> None:
        """Let the clips of the question go on as they did before."""
        if self._asked_playback is not None and self._asked_playback.paused:
            self._asked_playback.replay(now)

    @property
    def phase(self) -> Phase:
        """What the person is about to do."""
        return self.question.phase

    def rubric(self) -> str:
        """What is said above the clips."""
        if self.phase is Phase.CHOOSE:
            return (
                "Show what it should have done: find the moment with comma and full stop, then take over the clip "
                "there, and act to its end."
            )
        if self.phase is Phase.REVIEW:
            return "Store it, and what you did counts as better than what the agent did."
        controls = self._corrector.controls
        keys = [f"{key.upper() if len(key) == 1 else key} {does}" for key, does in controls.descriptions.items()]
        if controls.arrows:
            keys.append("arrows likewise")
        pace = "Each key is a step. " if self._corrector.in_turns else ""
        return f"{pace}{'  ·  '.join(keys)}"

    def key(self, key: int, pressed: bool, now: float) -> str | None:
        """Take in that a key, pygame's code of it, went down or came up; why it does nothing, where that is so."""
        name = pygame.key.name(key)
        if not pressed:
            self._corrector.controls.release(name)
            return None
        acting = self.phase in (Phase.READY, Phase.ACT)
        if acting and (name in self._corrector.controls.keys or name in self._corrector.controls.arrows):
            self._corrector.controls.press(name)
            return None
        action = _KEYS.get(key)
        if self.phase is Phase.CHOOSE and action in (None, CONFIRM):
            clip = self._clip_of(key)
            if clip is None:
                return "Take over one of the clips by the key below it; Escape leaves."
            action = Action("take", clip)
        if action is None or (acting and action not in (_DISCARD, _ACT_AGAIN, CONFIRM)):
            return "That key does nothing here; Escape leaves."
        return self.act(action, now)

    def move_axis(self, axis: int, value: float) -> None:
        """Take in where an axis of a gamepad stands, from -1 to 1."""
        self._corrector.controls.move_axis(axis, value)

    def act(self, action: Action, now: float) -> str | None:
        """Do what the person wants; why that is not possible, where it is not."""
        if action == _DISCARD:
            self.given_up = True
        elif action == REPLAY and self.phase in (Phase.CHOOSE, Phase.REVIEW):
            self.playback.replay(now)
        elif action.name == "step" and self.phase in (Phase.CHOOSE, Phase.REVIEW):
            self.playback.step(action.value, now)
        elif action.name == "take":
            return self._take_over(action.value, self.playback.index(now))
        elif action == _ACT_AGAIN and self.phase is not Phase.CHOOSE:
            return self._take_over(self._position, self._corrector.begun_at)
        elif action == CONFIRM and self.phase is Phase.READY and not self._corrector.in_turns:
            self._start(now)  # with no key held
        elif action == CONFIRM and self.phase is Phase.REVIEW:
            self._make()
        else:
            return "That does nothing here; Escape leaves."
        return None

    def update(self, now: float) -> str | None:
        """Take in what time has brought; why the correction had to end, where it had."""
        try:
            self._go_on(now)
        except Exception as problem:  # whatever a third-party environment raises
            self.given_up = True
            return f"The environment failed: {problem}"
        return None

    def _go_on(self, now: float) -> None:
        corrector = self._corrector
        if self.phase is Phase.READY and corrector.controls.held and not corrector.in_turns:
            self._start(now)
        if corrector.in_turns and self.phase in (Phase.READY, Phase.ACT):
            self._act_in_turn()
        elif self.phase is Phase.ACT and now >= self._due:
            corrector.act(corrector.controls.action())
            self._due = max(self._due, now - 1.0) + 1 / (corrector.frames_per_second * self.speed)
        if self.phase in (Phase.READY, Phase.ACT) and corrector.complete:
            self._review(now)

    def moment(self, now: float) -> tuple[int, Hashable]:
        """What is to be seen of the moving pictures: the frame, and what else it depends on."""
        if self.phase in (Phase.READY, Phase.ACT):
            return self._corrector.steps, (self.phase, self._shown_at)
        return self.playback.index(now), self.phase

    def picture(self, now: float, arrangement: Arrangement, theme: str) -> Picture:
        """What is needed to draw the moving pictures, painted as large as there is room."""
        frame, frames = self.playback.index(now), self.playback.frames
        clips = self._clips
        if self.phase is not Phase.CHOOSE:
            size = arrangement.clips[0].size
            wanted = (self.phase, size, theme, self._shown_at, self._corrector.steps)
            if self._painted[0] != wanted:
                self._painted = (wanted, self._paint(size, theme))
            clips = self._painted[1]
        if self.phase in (Phase.READY, Phase.ACT):
            frame, frames = self._corrector.steps, len(self._corrector.original)
        return Picture(frame, frames, clips, arrangement, THEMES[theme])

    def _clip_of(self, key: int) -> int | None:
        """The clip that a key takes over while one is chosen."""
        if key in _ENTER_KEYS:
            return 0 if self.question.clips == 1 else None
        clip = {pygame.K_LEFT: 0, pygame.K_RIGHT: 1}.get(key) if self.question.clips == 2 else _CLIP_OF_KEY.get(key)
        return clip if clip is not None and clip < self.question.clips else None

    def _take_over(self, position: int, step: int) -> str | None:
        segment = self._query.segments[position]
        if step >= segment.lived:
            return "The episode is over by then; take over at an earlier moment."
        try:
            self._corrector.begin(segment, step)
        except Exception as problem:  # whatever a third-party environment raises
            return f"This clip cannot be taken over: {problem}"
        self._position, self._shown_at = position, time.time()
        self.question.enter(Phase.READY)
        return None

    def _start(self, now: float) -> None:
        self._due = now
        self.question.enter(Phase.ACT)

    def _act_in_turn(self) -> None:
        action = self._corrector.controls.action()
        if action is not None and not self._corrector.complete:
            self._corrector.act(action)
            self._corrector.controls.release_all()
            self.question.enter(Phase.ACT)

    def _review(self, now: float) -> None:
        self._segment = self._corrector.segment()
        self.playback = Playback(len(self._segment), self._corrector.frames_per_second, self.speed, now)
        self.question.enter(Phase.REVIEW)

    def _make(self) -> None:
        assert self._segment is not None and self._query.id is not None
        self.made = Correction(
            self._query.id,
            self._position,
            self._corrector.begun_at,
            self._segment,
            self._shown_at,
            time.time(),
            uuid4().hex,
        )

    def _paint(self, size: tuple[int, int], theme: str) -> tuple[Clip, ...]:
        look = (size, theme)
        if self._painter is None or (self._painter.frame_size, self._painter.theme) != look:
            self._painter = clip_painter(self._environment, size, theme)
        painter = self._painter
        rate = painter.frames_per_second
        if self.phase is not Phase.REVIEW:
            pixels = painter.frame(self._corrector.state)
            return (Clip(look, (_surface(pixels, size),), rate),)
        assert self._segment is not None
        pairs = (self._corrector.original, self._segment)
        return tuple(
            Clip(look, tuple(_surface(pixels, size) for pixels in painter.each_frame(segment)), rate)
            for segment in pairs
        )


def _surface(pixels: NDArray[np.uint8], size: tuple[int, int]) -> pygame.Surface:
    return pygame.image.frombuffer(pixels.tobytes(), size, "RGB")
