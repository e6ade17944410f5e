"""Where everything is, as a function of the window's size and of what is on screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pygame import Rect

from rlhf_envs.feedback.window.controls import FASTER, MAIN, SIDE, SLOWER, UNDO, Control, clip_intent
from rlhf_envs.feedback.window.intents import Action, Intent
from rlhf_envs.feedback.window.view import Scene
from rlhf_envs.queries import Kind

Measure = Callable[[str, float], float]
"""Takes a text and its size in pixels, gives its width."""

USUAL_SIZE = (1200, 760)
_LEAST_SCALE, _MOST_SCALE = 0.8, 4.0
_MOST_RUBRIC_LINES, _MOST_CHIP_ROWS = 3, 2
_SMALLEST_CLIP = (90, 60)

RUBRIC_TEXT, LABEL_TEXT, KEY_TEXT, STATUS_TEXT, BANNER_TEXT = 20, 15, 12, 14, 14


@dataclass(frozen=True)
class Placed:
    """A control and where it is."""

    control: Control
    rect: Rect


@dataclass(frozen=True)
class Layout:
    """Where things are, in pixels.

    Attributes:
        scale: how many times as large as in a window of the usual size things are.
        rubric: its lines, and the box they stand in.
        clips, captions: one box each per clip.
        chips: one box per reason.
        controls: what can be clicked besides.
        speed: where the speed stands.
        level, curve: for ratings, the bar to drag on and the curve below the clip.
        message: the box for what is waited for.
        footer: the strip at the bottom.
    """

    scale: float
    rubric: tuple[str, ...]
    rubric_box: Rect
    clips: tuple[Rect, ...]
    captions: tuple[Rect, ...]
    chips: tuple[Rect, ...]
    controls: tuple[Placed, ...]
    speed: Rect
    level: Rect | None
    curve: Rect | None
    message: Rect
    footer: Rect

    def intent_at(self, kind: Kind, place: tuple[int, int]) -> Intent | None:
        """What a click there means."""
        for number, box in enumerate(self.chips):
            if box.collidepoint(place):
                return Intent(Action.REASON, number)
        for placed in self.controls:
            if placed.rect.collidepoint(place):
                return placed.control.intent
        for number, (clip, caption) in enumerate(zip(self.clips, self.captions, strict=True)):
            if clip.union(caption).collidepoint(place):
                return clip_intent(kind, number)
        return None

    def level_at(self, y: int) -> float:
        """The rating, from -1 to 1, at that height of the bar."""
        if self.level is None:
            return 0.0
        return min(max(1 - 2 * (y - self.level.top) / self.level.height, -1.0), 1.0)


def lay_out(size: tuple[int, int], scene: Scene, measure: Measure) -> Layout:
    """Place everything that the scene shows into a window of this size."""
    width, height = size
    s = min(max(min(width / USUAL_SIZE[0], height / USUAL_SIZE[1]), _LEAST_SCALE), _MOST_SCALE)
    margin, gap = round(24 * s), round(14 * s)
    inner = width - 2 * margin
    footer = Rect(0, height - round(56 * s), width, round(56 * s))

    lines = wrap(scene.rubric, RUBRIC_TEXT * s, inner, measure, _MOST_RUBRIC_LINES)
    rubric_box = Rect(margin, round(18 * s), inner, round(27 * s) * len(lines))

    control_height = round(32 * s)
    controls_top = footer.top - round(12 * s) - control_height
    rows = _rows([_chip_width(chip.label, chip.number, s, measure) for chip in scene.chips], inner, round(8 * s))
    rows = rows[:_MOST_CHIP_ROWS]
    chip_height, chip_step = round(30 * s), round(38 * s)
    chips_top = controls_top - round(6 * s) - chip_step * len(rows)
    chips = tuple(
        Rect(round(x + (width - row[-1][0] - row[-1][1]) / 2), chips_top + number * chip_step, round(w), chip_height)
        for number, row in enumerate(rows)
        for x, w in row
    )

    area = Rect(margin, rubric_box.bottom + gap, inner, 0)
    area.height = max(chips_top - round(10 * s) - area.top, 1)
    clips, captions, level, curve = _place_clips(area, scene, s, gap)
    speed, controls = _place_controls(scene, Rect(margin, controls_top, inner, control_height), s, measure)
    return Layout(s, lines, rubric_box, clips, captions, chips, controls, speed, level, curve, area, footer)


def wrap(text: str, size: float, width: float, measure: Measure, most_lines: int) -> tuple[str, ...]:
    """A text in lines no wider than that; what does not fit into the lines allowed is cut off with an ellipsis."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and measure(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > most_lines:
        lines = [*lines[: most_lines - 1], " ".join(lines[most_lines - 1 :])]
    return tuple(shorten(line, size, width, measure) for line in lines)


def shorten(text: str, size: float, width: float, measure: Measure) -> str:
    """A text that is no wider than that, cut off with an ellipsis where it has to be."""
    if measure(text, size) <= width:
        return text
    while text and measure(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def control_width(control: Control, s: float, measure: Measure) -> float:
    """How wide a control is: its keys, its label, and room on both sides."""
    keys = sum(key_width(key, s, measure) + 4 * s for key in control.keys)
    label = measure(control.label, LABEL_TEXT * s) + 5 * s if control.label else 0.0
    return keys + label + 14 * s


def key_width(key: str, s: float, measure: Measure) -> float:
    """How wide a key is drawn."""
    arrow = key in ("left", "right", "up", "down")
    return 22 * s if arrow else max(22 * s, measure(key, KEY_TEXT * s) + 12 * s)


def _chip_width(label: str, number: int | None, s: float, measure: Measure) -> float:
    numbered = 0.0 if number is None else measure(str(number), KEY_TEXT * s) + 9 * s
    return measure(label, LABEL_TEXT * s) + numbered + 28 * s


def _rows(widths: Sequence[float], room: float, gap: float) -> list[list[tuple[float, float]]]:
    """Boxes of these widths in rows: (left, width) of each, beginning at 0 in every row."""
    rows: list[list[tuple[float, float]]] = []
    for width in widths:
        left = rows[-1][-1][0] + rows[-1][-1][1] + gap if rows else 0.0
        if rows and left + width <= room:
            rows[-1].append((left, width))
        else:
            rows.append([(0.0, width)])
    return rows


def _place_clips(
    area: Rect, scene: Scene, s: float, gap: int
) -> tuple[tuple[Rect, ...], tuple[Rect, ...], Rect | None, Rect | None]:
    if scene.clips == 0:
        return (), (), None, None
    rated = scene.kind is Kind.RATING
    caption = 0 if rated else round(38 * s)
    beside, below = (round(104 * s), round(96 * s)) if rated else (0, 0)

    def clip_size(columns: int) -> tuple[int, int]:
        rows = -(-scene.clips // columns)
        width = (area.width - beside - gap * (columns - 1)) / columns
        height = (area.height - below - rows * caption - gap * (rows - 1) // 2) / rows
        width = max(min(width, height * 1.5), _SMALLEST_CLIP[0])
        return int(width), int(width / 1.5)

    columns = 2 if scene.kind is Kind.COMPARISON else max(range(1, scene.clips + 1), key=lambda count: clip_size(count))
    width, height = clip_size(columns)
    rows = -(-scene.clips // columns)
    block = rows * (height + caption) + (rows - 1) * (gap // 2) + below
    top = area.top + max((area.height - block) // 2, 0)
    clips, captions = [], []
    for number in range(scene.clips):
        row, column = divmod(number, columns)
        in_row = min(columns, scene.clips - row * columns)
        left = area.centerx - (in_row * width + (in_row - 1) * gap + beside) // 2 + column * (width + gap)
        clips.append(Rect(left, top + row * (height + caption + gap // 2), width, height))
        captions.append(Rect(left, clips[-1].bottom, width, caption))
    if not rated:
        return tuple(clips), tuple(captions), None, None
    [clip] = clips
    level = Rect(clip.right + round(38 * s), clip.top + round(26 * s), round(40 * s), clip.height - round(52 * s))
    curve = Rect(clip.left, clip.bottom + round(14 * s), clip.width, below - round(18 * s))
    return tuple(clips), tuple(captions), level, curve


def _place_controls(scene: Scene, row: Rect, s: float, measure: Measure) -> tuple[Rect, tuple[Placed, ...]]:
    """The main controls in the middle; the others on the left, and the speed on the right, as far as there is room."""

    def in_a_row(left: float, controls: Sequence[Control]) -> list[Placed]:
        placed = []
        for control in controls:
            width = control_width(control, s, measure)
            placed.append(Placed(control, Rect(round(left), row.top, round(width), row.height)))
            left += width + 6 * s
        return placed

    main = MAIN[scene.kind] if scene.clips else (UNDO,)
    middle = in_a_row(row.centerx - in_a_row(0, main)[-1].rect.right / 2, main)
    if not scene.clips:
        return Rect(0, 0, 0, 0), tuple(middle)
    side = in_a_row(row.left - round(7 * s), SIDE)
    if side[-1].rect.right > middle[0].rect.left:
        side = []
    button, number = control_width(FASTER, s, measure), round(44 * s)
    right = row.right + round(7 * s)
    speed = Rect(round(right - button - number), row.top, number, row.height)
    pace = in_a_row(speed.left - button, [SLOWER]) + in_a_row(speed.right, [FASTER])
    if pace[0].rect.left < middle[-1].rect.right:
        pace, speed = [], Rect(0, 0, 0, 0)
    return speed, tuple(middle + side + pace)
