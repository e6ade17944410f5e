"""Question screens: what a person sees and does in the window until a query of some kind is answered.

Each kind of feedback has one module here with one subclass of `Question`; `screen.QUESTIONS` lists them by kind.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pygame
from pygame import Rect

from rlhf_envs.envs.palette import Color, Palette
from rlhf_envs.feedback.outbox import Response
from rlhf_envs.feedback.window.clips import Clip, Playback
from rlhf_envs.queries import Choice, Query

PRESS, MOVE, RELEASE = "press", "move", "release"
_ASPECT = 1.5
_SMALLEST_WIDTH = 90


@dataclass(frozen=True)
class Action:
    """What a person wants: its name, and which one or how much, such as a clip from 0, a direction or a level."""

    name: str
    value: Any = 0


SKIP, CONFIRM, UNDO, REPLAY = Action("skip"), Action("confirm"), Action("undo"), Action("replay")


@dataclass(frozen=True)
class Shift:
    """A key together with Shift, in a table of keys."""

    key: int


KeyTable = Mapping[int | Shift, Action]
"""What pygame's key codes mean. With Shift held, a key that is not listed with Shift means what it means alone."""


@dataclass(frozen=True)
class Control:
    """Something on screen that names a key, can be clicked, or both."""

    keys: tuple[str, ...]  # as they are printed on a keyboard; arrows are "left", "right", "up", "down"
    label: str  # what it does
    action: Action | None = None  # what a click on it means; None for what only informs
    filled: bool = False  # whether it is drawn as a filled badge


CANNOT_TELL = Control(("down",), "cannot tell", SKIP)
DONE = Control(("Enter",), "done", CONFIRM)
UNDO_CONTROL = Control(("Backspace",), "undo", UNDO)
AGAIN = Control(("Space",), "again", REPLAY)


@dataclass(frozen=True)
class Placed:
    """A control and where it is, in the middle of its box or from the left; `clip` is the clip that it belongs to."""

    control: Control
    rect: Rect
    centred: bool = False
    clip: int | None = None


@dataclass(frozen=True)
class Arrangement:
    """Where the parts of a question are, in pixels."""

    scale: float = 1.0  # how many times as large as in a window of the usual size things are
    clips: tuple[Rect, ...] = ()
    captions: tuple[Rect, ...] = ()  # one for each clip
    controls: tuple[Placed, ...] = ()  # what stands in the captions and elsewhere
    boxes: Mapping[str, Rect] = field(default_factory=dict)  # further places, of which only the question knows

    def clip_at(self, place: tuple[int, int]) -> int | None:
        """The clip whose picture or caption is there."""
        boxes = enumerate(zip(self.clips, self.captions, strict=True))
        return next((number for number, (clip, caption) in boxes if clip.union(caption).collidepoint(place)), None)


@dataclass(frozen=True)
class Picture:
    """A moment of the clips on screen: frame `frame` of `frames`, where everything is, and in which colours."""

    frame: int
    frames: int
    clips: Sequence[Clip]
    arrangement: Arrangement
    colors: Palette


class Question:
    """One query on screen, and what has been said to it so far; `clips` is how many clips it shows."""

    keys: KeyTable = {}  # what keys mean when they go down, in addition to those that always mean the same
    released: KeyTable = {}  # what keys mean when they come up again
    controls: tuple[Control, ...] = (CANNOT_TELL, UNDO_CONTROL, AGAIN)  # what stands below the clips and the reasons
    pace = 1.0  # how many times as fast as natural the clips play where the person has not changed the speed
    loops = True  # whether the clips begin again after their end
    reason_keys = True  # whether the number keys give reasons; otherwise they are the question's own
    columns: int | None = None  # how many clips stand side by side; None for as many as makes them largest

    def __init__(self, query: Query) -> None:
        self.clips = len(query.segments)

    @property
    def ready(self) -> bool:
        """Whether `CONFIRM` would answer it."""
        return False

    def act(self, action: Action) -> Response | None:
        """Take in what the person wants; the answer, if that completes it."""
        return None

    def refusal(self, action: Action) -> str:
        """Why an action does nothing at this moment, in a sentence that says what would."""
        if action == CONFIRM:
            return "Enter does nothing here: choose one of the answers below the clips."
        return "That key does nothing here; the keys that do stand below the clips."

    def undo(self) -> bool:
        """Take back the last thing said to this question; False if nothing was, so that an earlier answer is meant."""
        return False

    def point(self, event: str, place: tuple[int, int], clip: int | None, arrangement: Arrangement) -> Action | None:
        """What the mouse means: `PRESS`, `MOVE` or `RELEASE` of its left button at a place, in pixels, on a clip."""
        return self.clip_action(clip) if event == PRESS and clip is not None else None

    def clip_action(self, clip: int) -> Action | None:
        """What a click on a clip means."""
        return None

    def follow(self, playback: Playback, now: float) -> None:
        """Take in what time has brought."""

    def replay(self, playback: Playback, now: float) -> None:
        """The person wants to see the clips again."""
        playback.replay(now)

    def reveal(self, choice: Choice | None, known: Choice) -> None:
        """Show what was chosen and what is known to be right, after a practice answer."""

    @property
    def look(self) -> Hashable:
        """What everything but the moving pictures depends on: where it changes, all is drawn anew."""
        return None

    @property
    def motion(self) -> Hashable:
        """What `draw` depends on in addition to the frame."""
        return None

    @property
    def floating(self) -> Hashable:
        """What `draw` draws outside of its own boxes, and where; None for nothing."""
        return None

    def caption(self, clip: int) -> tuple[Control, ...]:
        """What stands below a clip."""
        return ()

    def lit_clips(self, action: Action) -> tuple[int, ...]:
        """The clips that light up for a moment after an action."""
        return ()

    def clip_color(self, clip: int, colors: Palette) -> Color | None:
        """The colour of a clip's frame where it is marked; None for the usual one."""
        return None

    def arrange(self, area: Rect, scale: float, width_of: Callable[[Control], float]) -> Arrangement:
        """Place everything that belongs to the question.

        Args:
            area: where there is room.
            scale: how many times as large as in a window of the usual size things are.
            width_of: how wide a control is.
        """
        clips, captions = clip_grid(area, self.clips, scale, columns=self.columns, caption=38)
        controls = []
        for number, box in enumerate(captions):
            row = self.caption(number)
            if len(row) < 2:
                controls += [Placed(control, box, centred=True, clip=number) for control in row]
                continue
            needed = sum(width_of(control) for control in row)
            # Labels for which there is no room are cut off when they are drawn.
            widths = [int(width_of(control) * min(box.width / needed, 1.0)) for control in row]
            left = box.centerx - sum(widths) // 2
            for control, width in zip(row, widths, strict=True):
                controls.append(Placed(control, Rect(left, box.top, width, box.height), clip=number))
                left += width
        return Arrangement(scale, clips, captions, tuple(controls))

    def draw(self, target: pygame.Surface, picture: Picture) -> None:
        """Draw what moves in addition to the clips themselves."""


def clip_grid(
    area: Rect,
    count: int,
    scale: float,
    *,
    columns: int | None = None,
    caption: float = 0,
    right: float = 0,
    bottom: float = 0,
) -> tuple[tuple[Rect, ...], tuple[Rect, ...]]:
    """Boxes for clips and for their captions, as large as there is room.

    Args:
        area: where there is room.
        count: how many clips.
        scale: how many times as large as in a window of the usual size things are.
        columns: how many stand side by side; None for as many as makes them largest.
        caption, right, bottom: room below each clip, to the right of all and below all, in a window of the usual size.
    """
    gap, caption, right, bottom = (round(each * scale) for each in (14, caption, right, bottom))

    def clip_size(columns: int) -> tuple[int, int]:
        rows = -(-count // columns)
        width = (area.width - right - gap * (columns - 1)) / columns
        height = (area.height - bottom - rows * caption - gap * (rows - 1) // 2) / rows
        width = max(min(width, height * _ASPECT), _SMALLEST_WIDTH)
        return int(width), int(width / _ASPECT)

    columns = columns or max(range(1, count + 1), key=clip_size)
    width, height = clip_size(columns)
    rows = -(-count // columns)
    block = rows * (height + caption) + (rows - 1) * (gap // 2) + bottom
    top = area.top + max((area.height - block) // 2, 0)
    clips, captions = [], []
    for number in range(count):
        row, column = divmod(number, columns)
        in_row = min(columns, count - row * columns)
        left = area.centerx - (in_row * width + (in_row - 1) * gap + right) // 2 + column * (width + gap)
        clips.append(Rect(left, top + row * (height + caption + gap // 2), width, height))
        captions.append(Rect(left, clips[-1].bottom, width, caption))
    return tuple(clips), tuple(captions)


def digit_keys(name: str) -> dict[int | Shift, Action]:
    """The keys 1 to 9, in the top row and on the keypad, as actions of this name with values from 0."""
    keypad = (getattr(pygame, f"K_KP{digit}") for digit in range(1, 10))
    return {key: Action(name, number) for keys in (_TOP_ROW, keypad) for number, key in enumerate(keys)}


def action_of_key(
    question: Question | None, key: int, pressed: bool = True, typed: str = "", modifiers: int = 0
) -> Action | None:
    """What a key means; None for a key that means nothing.

    Args:
        question: on screen, if any.
        key: pygame's code of the key.
        pressed: whether it went down or came up.
        typed: the character it typed, if any.
        modifiers: pygame's bits of the modifier keys held; with Control, Alt or the system's key nothing is meant.
    """
    if not pressed:
        return None if question is None else question.released.get(key)
    if modifiers & (pygame.KMOD_CTRL | pygame.KMOD_ALT | pygame.KMOD_META):
        return None
    codes: list[int | Shift] = [key, _TYPED.get(typed, pygame.K_UNKNOWN)]
    if modifiers & pygame.KMOD_SHIFT:
        codes.insert(0, Shift(key))
    tables = [_EVERYWHERE] if question is None else [question.keys, _EVERYWHERE]
    if question is None or question.reason_keys:
        tables.append(_REASONS)
    return next((table[code] for code in codes for table in tables if code in table), None)


_TOP_ROW = tuple(getattr(pygame, f"K_{digit}") for digit in range(1, 10))
_REASONS: KeyTable = digit_keys("reason")
_EVERYWHERE: KeyTable = {
    **dict.fromkeys((pygame.K_RETURN, pygame.K_KP_ENTER), CONFIRM),
    **dict.fromkeys((pygame.K_PLUS, pygame.K_EQUALS, pygame.K_KP_PLUS), Action("speed", 1)),
    **dict.fromkeys((pygame.K_MINUS, pygame.K_KP_MINUS), Action("speed", -1)),
    pygame.K_BACKSPACE: UNDO,
    pygame.K_SPACE: REPLAY,
    pygame.K_COMMA: Action("step", -1),
    pygame.K_PERIOD: Action("step", 1),
    pygame.K_t: Action("theme"),
    pygame.K_c: Action("correct"),
    pygame.K_ESCAPE: Action("close"),
}
# Where a character needs Shift, or stands on another key than in America, the key's code is not the character's.
_TYPED = {str(digit): key for digit, key in enumerate(_TOP_ROW, start=1)} | {
    "+": pygame.K_PLUS,
    "-": pygame.K_MINUS,
    ",": pygame.K_COMMA,
    ".": pygame.K_PERIOD,
}
