"""Question screens: what a person sees and does in the window until a query of some kind is answered.

Each kind of feedback has one module here with one subclass of `Question`; `screen.QUESTIONS` lists them by kind.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import pygame
from pygame import Rect

from rlhf_envs.envs.palette import Palette
from rlhf_envs.feedback.outbox import Response
from rlhf_envs.feedback.window.clips import Clip, Playback
from rlhf_envs.queries import Query

if TYPE_CHECKING:
    from rlhf_envs.queries import Choice

_ASPECT = 1.5
_SMALLEST_WIDTH = 90

PRESS, MOVE, RELEASE = "press", "move", "release"


@dataclass(frozen=True)
class Action:
    """What a person wants.

    Attributes:
        name: what, such as "undo" or "left".
        value: which one or how much, where there are several: the number of a clip or a reason from 0, a direction of
            -1 or 1, a level, or a pair of clips.
    """

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
    """Something on screen that names a key, can be clicked, or both.

    Attributes:
        keys: the names of its keys as they are printed on a keyboard; arrows are "left", "right", "up", "down".
        label: what it does.
        action: what a click on it means; None for what only informs.
        filled: whether it is drawn as a filled badge.
    """

    keys: tuple[str, ...]
    label: str
    action: Action | None = None
    filled: bool = False


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
    """Where the parts of a question are, in pixels.

    Attributes:
        scale: how many times as large as in a window of the usual size things are.
        clips, captions: one box each per clip.
        controls: what stands in the captions and elsewhere.
        boxes: further places by name, of which only the question itself knows.
    """

    scale: float = 1.0
    clips: tuple[Rect, ...] = ()
    captions: tuple[Rect, ...] = ()
    controls: tuple[Placed, ...] = ()
    boxes: Mapping[str, Rect] = field(default_factory=dict)

    def clip_at(self, place: tuple[int, int]) -> int | None:
        """The clip whose picture or caption is there."""
        boxes = enumerate(zip(self.clips, self.captions, strict=True))
        return next((number for number, (clip, caption) in boxes if clip.union(caption).collidepoint(place)), None)


@dataclass(frozen=True)
class Moment:
    """What changes from frame to frame.

    Attributes:
        frame: which frame of the clips is shown; `frames` is how many the longest has.
        motion, floating: of the question, see `Question`.
        look: identifies the pictures, which are painted anew when the window changes.
    """

    frame: int = 0
    frames: int = 1
    motion: Hashable = None
    floating: Hashable = None
    look: tuple[int, ...] = ()


class Question:
    """One query on screen, and what has been said to it so far.

    Args:
        query: what is asked.

    Attributes:
        clips: how many clips it shows.
    """

    keys: ClassVar[KeyTable] = {}
    """What keys mean when they go down, besides those that mean the same everywhere."""

    released: ClassVar[KeyTable] = {}
    """What keys mean when they come up again."""

    controls: ClassVar[tuple[Control, ...]] = (CANNOT_TELL, UNDO_CONTROL, AGAIN)
    """What stands below the clips and the reasons."""

    loops: ClassVar[bool] = True
    """Whether the clips begin again after their end."""

    reason_keys: ClassVar[bool] = True
    """Whether the number keys give reasons; otherwise they are the question's own."""

    columns: ClassVar[int | None] = None
    """How many clips stand side by side; None for as many as makes them largest."""

    caption_height: ClassVar[float] = 38
    """Room below each clip; like `beside` and `below`, in pixels of a window of the usual size."""

    beside: ClassVar[float] = 0
    below: ClassVar[float] = 0
    """Room to the right of the clips and below them for what else the question shows."""

    def __init__(self, query: Query) -> None:
        self.clips = len(query.segments)

    # What the person does.

    @property
    def ready(self) -> bool:
        """Whether `CONFIRM` would answer it."""
        return False

    def act(self, action: Action) -> Response | None:
        """Take in what the person wants; the answer, if that completes it."""
        return None

    def undo(self) -> bool:
        """Take back the last thing said to this question; False if nothing was, so that an earlier answer is meant."""
        return False

    def point(self, event: str, place: tuple[int, int], clip: int | None, arrangement: Arrangement) -> Action | None:
        """What the mouse means.

        Args:
            event: `PRESS`, `MOVE` or `RELEASE` of the left button.
            place: where, in pixels.
            clip: the clip that is there, if any.
            arrangement: where everything is.
        """
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

    # How it is drawn.

    @property
    def look(self) -> Hashable:
        """What everything but the moving pictures depends on: where it changes, all is drawn anew."""
        return None

    @property
    def motion(self) -> Hashable:
        """What `draw` depends on besides the frame."""
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

    def clip_color(self, clip: int, colors: Palette) -> tuple[int, int, int] | None:
        """The colour of a clip's frame where it is marked; None for the usual one."""
        return None

    def arrange(self, area: Rect, scale: float, width_of: Callable[[Control], float]) -> Arrangement:
        """Place everything that belongs to the question.

        Args:
            area: where there is room.
            scale: how many times as large as in a window of the usual size things are.
            width_of: how wide a control is.
        """
        clips, captions = clip_grid(self, area, scale)
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

    def draw(
        self, target: pygame.Surface, arrangement: Arrangement, moment: Moment, clips: tuple[Clip, ...], colors: Palette
    ) -> None:
        """Draw what moves besides the clips themselves."""


def clip_grid(question: Question, area: Rect, scale: float) -> tuple[tuple[Rect, ...], tuple[Rect, ...]]:
    """Boxes for the clips of a question and for their captions, as large as there is room."""
    count, gap = question.clips, round(14 * scale)
    caption, beside, below = (
        round(each * scale) for each in (question.caption_height, question.beside, question.below)
    )

    def clip_size(columns: int) -> tuple[int, int]:
        rows = -(-count // columns)
        width = (area.width - beside - gap * (columns - 1)) / columns
        height = (area.height - below - rows * caption - gap * (rows - 1) // 2) / rows
        width = max(min(width, height * _ASPECT), _SMALLEST_WIDTH)
        return int(width), int(width / _ASPECT)

    columns = question.columns or max(range(1, count + 1), key=clip_size)
    width, height = clip_size(columns)
    rows = -(-count // columns)
    block = rows * (height + caption) + (rows - 1) * (gap // 2) + below
    top = area.top + max((area.height - block) // 2, 0)
    clips, captions = [], []
    for number in range(count):
        row, column = divmod(number, columns)
        in_row = min(columns, count - row * columns)
        left = area.centerx - (in_row * width + (in_row - 1) * gap + beside) // 2 + column * (width + gap)
        clips.append(Rect(left, top + row * (height + caption + gap // 2), width, height))
        captions.append(Rect(left, clips[-1].bottom, width, caption))
    return tuple(clips), tuple(captions)


def digit_keys(name: str) -> dict[int | Shift, Action]:
    """The keys 1 to 9, in the top row and on the keypad, as actions of this name with values from 0."""
    keypad = (getattr(pygame, f"K_KP{digit}") for digit in range(1, 10))
    numbered = [*enumerate(_TOP_ROW), *enumerate(keypad)]
    return {key: Action(name, number) for number, key in numbered}


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
_EVERYWHERE: KeyTable = {
    pygame.K_BACKSPACE: UNDO,
    pygame.K_SPACE: REPLAY,
    pygame.K_RETURN: CONFIRM,
    pygame.K_KP_ENTER: CONFIRM,
    pygame.K_PLUS: Action("speed", 1),
    pygame.K_EQUALS: Action("speed", 1),
    pygame.K_KP_PLUS: Action("speed", 1),
    pygame.K_MINUS: Action("speed", -1),
    pygame.K_KP_MINUS: Action("speed", -1),
    pygame.K_COMMA: Action("step", -1),
    pygame.K_PERIOD: Action("step", 1),
    pygame.K_t: Action("theme"),
    pygame.K_ESCAPE: Action("close"),
}
_REASONS: KeyTable = digit_keys("reason")

# Where a character needs Shift, or stands on another key than in America, the key's code is not the character's.
_TYPED = {
    **{str(digit): key for digit, key in enumerate(_TOP_ROW, start=1)},
    "+": pygame.K_PLUS,
    "-": pygame.K_MINUS,
    ",": pygame.K_COMMA,
    ".": pygame.K_PERIOD,
}
