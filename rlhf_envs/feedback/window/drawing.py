"""Where everything in the window is, and how it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import pygame
from pygame import Rect

from rlhf_envs.envs.canvas import Canvas
from rlhf_envs.envs.palette import Color, blend
from rlhf_envs.feedback.progress import SessionProgress
from rlhf_envs.feedback.window.questions import (
    CONFIRM,
    UNDO_CONTROL,
    Action,
    Arrangement,
    Control,
    Picture,
    Placed,
    Question,
)

Measure = Callable[[str, float], float]
"""Takes a text and its size in pixels, gives its width."""

USUAL_SIZE = (1200, 760)
RUBRIC_TEXT, LABEL_TEXT, KEY_TEXT, STATUS_TEXT = 20, 15, 12, 14
PRACTICE_TEXT = "Practice: does not count"
NEXT = Action("next")

_LEAST_SCALE, _MOST_SCALE = 0.8, 4.0
_MOST_RUBRIC_LINES, _MOST_CHIP_ROWS, _MOST_BANNER_LINES = 3, 2, 2
_SEPARATOR = "  ·  "
_ARROWS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}

_SIDE = (Control((",", "."), "step"), Control(("T",), "theme", Action("theme")))
_SLOWER, _FASTER = Control(("–",), "", Action("speed", -1)), Control(("+",), "", Action("speed", 1))
_FEEDBACK_CONTROLS = (Control(("Enter",), "next", NEXT), UNDO_CONTROL)


@dataclass(frozen=True)
class Chip:
    """A reason to choose: what it says, the number of its key (None where there is none), whether it is on."""

    label: str
    number: int | None
    on: bool


@dataclass(frozen=True)
class View:
    """Everything on screen but the moving pictures, as values: where two are equal, nothing is drawn again."""

    theme: str  # "light" or "dark"
    question: Question | None = None  # on screen
    look: Hashable = None  # of the question
    ready: bool = False  # whether confirming would answer the question
    rubric: str = ""  # what to look for
    practice: bool = False  # whether the answer does not count
    message: tuple[str, str] | None = None  # while there is no question: a headline and a sentence
    problems: tuple[str | None, ...] = ()  # for each clip, why it cannot be shown, or None
    chips: tuple[Chip, ...] = ()  # the reasons
    feedback: tuple[bool, str] | None = None  # after a practice answer: whether it was right, and the explanation
    speed: float = 1.0  # how many times as fast as natural the clips are played
    paused: bool = False  # whether they stand still
    lit: tuple[Action, float] | None = None  # what was just done, and how strongly it is lit, from 0 to 1
    pointed: Action | None = None  # the control that the mouse points at
    pointed_clip: int | None = None  # the clip that it points at
    progress: SessionProgress | None = None  # None before it is known
    banner: str | None = None  # something that went wrong
    summary: tuple[tuple[str, str], ...] = ()  # below the message, once everything is over
    hint: str | None = None  # why what was pressed does nothing


@dataclass(frozen=True)
class Layout:
    """Where things are, in pixels."""

    scale: float  # how many times as large as in a window of the usual size things are
    rubric: tuple[str, ...]  # its lines
    rubric_box: Rect
    rubric_indent: float  # where its first line begins
    arrangement: Arrangement  # the clips and what belongs to the question
    chips: tuple[Rect, ...]  # one box per reason
    controls: tuple[Placed, ...]  # what else can be clicked
    speed: Rect
    message: Rect
    feedback: Rect
    footer: Rect  # the strip at the bottom

    def action_at(self, place: tuple[int, int]) -> Action | None:
        """What a click there means, unless it is meant for a clip."""
        for number, box in enumerate(self.chips):
            if box.collidepoint(place):
                return Action("reason", number)
        for placed in (*self.controls, *self.arrangement.controls):
            if placed.control.action is not None and placed.rect.collidepoint(place):
                return placed.control.action
        return None


def lay_out(size: tuple[int, int], view: View, measure: Measure) -> Layout:
    """Place everything that the view shows into a window of this size."""
    width, height = size
    s = min(max(min(width / USUAL_SIZE[0], height / USUAL_SIZE[1]), _LEAST_SCALE), _MOST_SCALE)
    margin, gap = round(24 * s), round(14 * s)
    inner = width - 2 * margin
    footer = Rect(0, height - round(56 * s), width, round(56 * s))

    indent = measure(PRACTICE_TEXT, LABEL_TEXT * s) + 38 * s if view.practice else 0.0
    lines = wrap(view.rubric, RUBRIC_TEXT * s, inner, measure, _MOST_RUBRIC_LINES, indent)
    rubric_box = Rect(margin, round(18 * s), inner, round(27 * s) * len(lines))

    control_height = round(32 * s)
    controls_top = footer.top - round(12 * s) - control_height
    rows = _rows([_chip_width(chip, s, measure) for chip in view.chips], inner, round(8 * s))[:_MOST_CHIP_ROWS]
    chip_height, chip_step = round(30 * s), round(38 * s)
    chips_top = controls_top - round(6 * s) - chip_step * len(rows)
    chips = tuple(
        Rect(round(x + (width - row[-1][0] - row[-1][1]) / 2), chips_top + number * chip_step, round(w), chip_height)
        for number, row in enumerate(rows)
        for x, w in row
    )
    feedback = Rect(margin, controls_top - round(54 * s), inner, round(48 * s))

    area = Rect(margin, rubric_box.bottom + gap, inner, 0)
    area.height = max(chips_top - round(10 * s) - area.top, 1)
    arrangement = Arrangement(s)
    if view.question is not None:
        arrangement = view.question.arrange(area, s, lambda control: control_width(control, s, measure))
    speed, controls = _place_controls(view, Rect(margin, controls_top, inner, control_height), s, measure)
    if view.feedback is not None:
        chips = ()
    return Layout(s, lines, rubric_box, indent, arrangement, chips, controls, speed, area, feedback, footer)


def wrap(
    text: str, size: float, width: float, measure: Measure, most_lines: int, indent: float = 0.0
) -> tuple[str, ...]:
    """A text in lines no wider than that; what does not fit into the lines allowed is cut off with an ellipsis.

    Args:
        indent: how much less room the first line has.
    """
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and measure(longer, size) <= width - (indent if len(lines) == 1 else 0.0):
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > most_lines:
        lines = [*lines[: most_lines - 1], " ".join(lines[most_lines - 1 :])]
    return tuple(shorten(line, size, width - (0.0 if number else indent), measure) for number, line in enumerate(lines))


def shorten(text: str, size: float, width: float, measure: Measure) -> str:
    """A text that is no wider than that, cut off with an ellipsis where it has to be."""
    if measure(text, size) <= width:
        return text
    while text and measure(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def control_width(control: Control, s: float, measure: Measure) -> float:
    """How wide a control is: its keys, its label, and room on both sides."""
    if control.filled:
        return measure(control.label, LABEL_TEXT * s) + 28 * s
    keys = sum(_key_width(key, s, measure) + 4 * s for key in control.keys)
    label = measure(control.label, LABEL_TEXT * s) + 5 * s if control.label else 0.0
    return keys + label + 14 * s


def _key_width(key: str, s: float, measure: Measure) -> float:
    return 22 * s if key in _ARROWS else max(22 * s, measure(key, KEY_TEXT * s) + 12 * s)


def _chip_width(chip: Chip, s: float, measure: Measure) -> float:
    numbered = 0.0 if chip.number is None else measure(str(chip.number), KEY_TEXT * s) + 9 * s
    return measure(chip.label, LABEL_TEXT * s) + numbered + 28 * s


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


def _place_controls(view: View, row: Rect, s: float, measure: Measure) -> tuple[Rect, tuple[Placed, ...]]:
    """The main controls in the middle; the others on the left, and the speed on the right, as far as there is room."""

    def in_a_row(left: float, controls: Sequence[Control]) -> list[Placed]:
        placed = []
        for control in controls:
            width = control_width(control, s, measure)
            placed.append(Placed(control, Rect(round(left), row.top, round(width), row.height)))
            left += width + 6 * s
        return placed

    main: tuple[Control, ...] = (UNDO_CONTROL,)
    if view.question is not None:
        main = view.question.controls if view.feedback is None else _FEEDBACK_CONTROLS
    middle = in_a_row(row.centerx - in_a_row(0, main)[-1].rect.right / 2, main)
    if view.question is None:
        return Rect(0, 0, 0, 0), tuple(middle)
    side = in_a_row(row.left - round(7 * s), _SIDE)
    if side[-1].rect.right > middle[0].rect.left:
        side = []
    button, number = control_width(_FASTER, s, measure), round(44 * s)
    right = row.right + round(7 * s)
    speed = Rect(round(right - button - number), row.top, number, row.height)
    pace = in_a_row(speed.left - button, [_SLOWER]) + in_a_row(speed.right, [_FASTER])
    if pace[0].rect.left < middle[-1].rect.right:
        pace, speed = [], Rect(0, 0, 0, 0)
    return speed, tuple(middle + side + pace)


class Background:
    """Everything but the moving pictures, drawn on a canvas of the window's size.

    Args:
        size: (width, height) of the window in pixels.
        view: what to draw.
    """

    def __init__(self, size: tuple[int, int], view: View) -> None:
        self.size = size
        self.theme = view.theme
        self.canvas = Canvas(*size, theme=view.theme)
        self.canvas.scale = 1.0
        self._colors = self.canvas.colors
        self._s = 1.0
        self.draw(view)

    def draw(self, view: View) -> None:
        """Draw a view of the same theme."""
        layout = self.layout = lay_out(self.size, view, self.canvas.text_width)
        self._s = layout.scale
        self.canvas.surface.fill(self._colors.background)
        self._rubric(view, layout)
        if view.message is not None:
            self._message(view.message, view.summary, layout.message)
        if view.question is not None:
            for number in range(view.question.clips):
                self._clip(number, view.question, view, layout.arrangement)
            for placed in layout.arrangement.controls:
                self._caption(placed, view)
        if view.feedback is not None:
            self._feedback(*view.feedback, layout.feedback)
        for chip, box in zip(view.chips, layout.chips, strict=False):
            self._chip(chip, box, view)
        self._controls(view, layout)
        self._footer(view, layout.footer)

    def _rubric(self, view: View, layout: Layout) -> None:
        colors, s, box = self._colors, self._s, layout.rubric_box
        height = box.height / max(len(layout.rubric), 1)
        if view.practice:
            top, width = box.top + (height - 26 * s) / 2, layout.rubric_indent - 14 * s
            pill = Rect(box.left, round(top), round(width), round(26 * s))
            self._outlined(pill, colors.warning, colors.surface)
            self.canvas.text(*pill.center, PRACTICE_TEXT, colors.ink, LABEL_TEXT * s, "center")
        for number, line in enumerate(layout.rubric):
            left = box.left + (0.0 if number else layout.rubric_indent)
            self.canvas.text(left, box.top + (number + 0.5) * height, line, colors.ink, RUBRIC_TEXT * s)

    def _message(self, message: tuple[str, str], summary: tuple[tuple[str, str], ...], box: Rect) -> None:
        s, colors = self._s, self._colors
        step = 30 * s
        box = box.move(0, -round(len(summary) * step / 2))
        for number, (name, text) in enumerate(summary):
            y = box.centery + 86 * s + number * step
            self.canvas.text(box.centerx - 12 * s, y, name, colors.muted, 16 * s, "right")
            self.canvas.text(box.centerx + 12 * s, y, text, colors.ink, 16 * s, "left")
        self.canvas.text(box.centerx, box.centery - 18 * s, message[0], self._colors.ink, 26 * s, "center")
        below = Rect(box.left, round(box.centery + 7 * s), box.width, round(66 * s))
        self._paragraph(message[1], below, self._colors.muted, 16, 3, top=True)

    def _clip(self, number: int, question: Question, view: View, arrangement: Arrangement) -> None:
        colors, s, box = self._colors, self._s, arrangement.clips[number]
        marked = question.clip_color(number, colors)
        lit = self._lit_clip(view, number)
        if marked is not None or lit:
            color = marked if marked is not None else blend(colors.accent, colors.background, lit)
            self._frame(box, round(4 * s), color)
        else:
            self._frame(box, max(round(1.4 * s), 1), colors.muted if view.pointed_clip == number else colors.line)
        self._fill(box, colors.surface)
        problem = view.problems[number] if number < len(view.problems) else None
        if problem is not None:
            self._paragraph(problem, box.inflate(-40 * s, 0), colors.bad, 14, 6)

    def _caption(self, placed: Placed, view: View) -> None:
        colors, control = self._colors, placed.control
        if control.action is None:
            lit = self._lit_clip(view, placed.clip)
            pointed = placed.clip is not None and view.pointed_clip == placed.clip
        else:
            lit = self._lit(view, control.action)
            pointed = view.pointed == control.action
            if lit or pointed:
                self._fill(placed.rect, blend(colors.accent, colors.surface_strong, lit * 0.5), 7 * self._s)
        self._control(placed, blend(colors.accent, colors.ink if pointed else colors.muted, lit))

    def _feedback(self, right: bool, text: str, box: Rect) -> None:
        colors, s = self._colors, self._s
        self._fill(box, colors.line, 8 * s)
        self._fill(box.inflate(-2, -2), colors.surface, 7 * s)
        bar = Rect(box.left, box.top, round(6 * s), box.height)
        self._fill(bar, colors.good if right else colors.warning, 3 * s)
        self._paragraph(text, box.inflate(-40 * s, 0), colors.ink, LABEL_TEXT, 2, align="left")

    def _chip(self, chip: Chip, box: Rect, view: View) -> None:
        canvas, colors, s = self.canvas, self._colors, self._s
        pointed = view.pointed == Action("reason", view.chips.index(chip))
        edge = colors.accent if chip.on else colors.muted if pointed else colors.line
        self._outlined(box, edge, colors.accent if chip.on else colors.surface)
        left = box.left + 14.0 * s
        if chip.number is not None:
            quiet = colors.surface if chip.on else colors.muted
            canvas.text(left, box.centery, str(chip.number), quiet, KEY_TEXT * s)
            left += canvas.text_width(str(chip.number), KEY_TEXT * s) + 9 * s
        canvas.text(left, box.centery, chip.label, colors.surface if chip.on else colors.ink, LABEL_TEXT * s)

    def _controls(self, view: View, layout: Layout) -> None:
        colors, s = self._colors, self._s
        for placed in layout.controls:
            action = placed.control.action
            lit = self._lit(view, action)
            possible = action != CONFIRM or view.ready
            if possible and action is not None and (lit or view.pointed == action):
                self._fill(placed.rect, blend(colors.accent, colors.surface_strong, lit * 0.5), 7 * s)
            inviting = action == NEXT or (action == CONFIRM and view.ready)
            self._control(placed, colors.accent if inviting else colors.ink if possible else colors.line)
        if layout.speed.width:
            text = "paused" if view.paused else f"{view.speed:g}×"
            size = (KEY_TEXT if view.paused else LABEL_TEXT) * s
            self.canvas.text(*layout.speed.center, text, colors.muted, size, "center")

    def _footer(self, view: View, box: Rect) -> None:
        """How far things are and what training is doing, or what went wrong."""
        canvas, colors, s = self.canvas, self._colors, self._s
        self._fill(box, colors.surface if view.banner is None else colors.bad)
        if view.banner is not None:
            inside = box.inflate(-48 * s, 0)
            self._paragraph(view.banner, inside, colors.surface, STATUS_TEXT, _MOST_BANNER_LINES, align="left")
            return
        if view.hint is not None:
            self._fill(box, colors.ink)
            inside = box.inflate(-48 * s, 0)
            self._paragraph(view.hint, inside, colors.background, STATUS_TEXT + 1, _MOST_BANNER_LINES)
            return
        height = max(round(3 * s), 2)
        canvas.rectangle(box.left, box.top, box.width, height, colors.surface_strong)
        if view.progress is None:
            return
        if view.progress.share > 0:
            canvas.rectangle(box.left, box.top, max(box.width * view.progress.share, 1), height, colors.accent)
        middle, right = box.centery + height / 2, box.right - 24 * s
        counts, pieces = _SEPARATOR.join(view.progress.counts_text()), view.progress.training_text()
        canvas.text(24 * s, middle, counts, colors.ink, STATUS_TEXT * s)
        if len(view.progress.curve) > 1:
            curve = Rect(round(right - 96 * s), round(middle - 13 * s), round(96 * s), round(26 * s))
            self._sparkline(view.progress.curve, curve)
            right = curve.left - 14 * s
        room = right - (24 * s + canvas.text_width(counts, STATUS_TEXT * s) + 30 * s)
        while pieces and canvas.text_width(_SEPARATOR.join(pieces), STATUS_TEXT * s) > room:
            pieces = pieces[:-1]
        canvas.text(right, middle, _SEPARATOR.join(pieces), colors.muted, STATUS_TEXT * s, "right")

    def _sparkline(self, values: Sequence[float], box: Rect) -> None:
        """A curve without axes, its last point marked: whether things go up is all it says."""
        low, high = min(values), max(values)
        points = [
            (
                box.left + box.width * number / (len(values) - 1),
                box.bottom - box.height * ((value - low) / (high - low) if high > low else 0.5),
            )
            for number, value in enumerate(values)
        ]
        self.canvas.polyline(points, self._colors.good, 1.4)
        self.canvas.circle(*points[-1], 2.6 * self._s, self._colors.good)

    def _paragraph(
        self, text: str, box: Rect, color: Color, size: float, most_lines: int, align: str = "center", top: bool = False
    ) -> None:
        """A text in lines, in the middle of a box or from its top; `size` is that in a window of the usual size."""
        s, step = self._s, (size + 6) * self._s
        lines = wrap(text, size * s, box.width, self.canvas.text_width, most_lines)
        first = box.top + step / 2 if top else box.centery - (len(lines) - 1) / 2 * step
        for number, line in enumerate(lines):
            x = box.left if align == "left" else box.centerx
            self.canvas.text(x, first + number * step, line, color, size * s, align)

    def _control(self, placed: Placed, color: Color) -> None:
        """The keys of a control and its label, from the left of its box or in its middle."""
        canvas, s, control, box = self.canvas, self._s, placed.control, placed.rect
        width = control_width(control, s, canvas.text_width)
        left = (box.centerx - width / 2 if placed.centred else box.left) + 7 * s
        if control.filled:
            top, height = box.centery - 12 * s, 24 * s
            canvas.rectangle(box.centerx - width / 2, top, width, height, self._colors.accent, radius=height / 2)
            canvas.text(*box.center, control.label, self._colors.surface, LABEL_TEXT * s, "center")
            return
        for key in control.keys:
            left = self._key(key, left, box.centery, color) + 4 * s
        if control.label:
            label = shorten(control.label, LABEL_TEXT * s, max(box.right - left - 3 * s, 1), canvas.text_width)
            canvas.text(left + 3 * s, box.centery, label, color, LABEL_TEXT * s)

    def _key(self, key: str, left: float, y: float, color: Color) -> float:
        """A key as it looks on a keyboard; where it ends."""
        canvas, colors, s = self.canvas, self._colors, self._s
        width, height, border = _key_width(key, s, canvas.text_width), 22 * s, max(round(1.2 * s), 1)
        top = y - height / 2
        canvas.rectangle(left, top, width, height, colors.line, radius=5 * s)
        inner = (width - 2 * border, height - 3 * border)
        canvas.rectangle(left + border, top + border, *inner, colors.surface, radius=4 * s)
        x, y, size = left + width / 2, y - border / 2, 4.4 * s
        if key not in _ARROWS:
            canvas.text(x, y, key, color, KEY_TEXT * s, "center")
            return left + width
        dx, dy = _ARROWS[key]
        tip, back = (x + dx * size, y + dy * size), (x - dx * size * 0.7, y - dy * size * 0.7)
        corners = [(back[0] + dy * size, back[1] + dx * size), (back[0] - dy * size, back[1] - dx * size)]
        canvas.polygon([tip, *corners], color)
        return left + width

    def _fill(self, box: Rect, color: Color, radius: float = 0.0) -> None:
        self.canvas.rectangle(box.left, box.top, box.width, box.height, color, radius)

    def _frame(self, box: Rect, thickness: int, color: Color) -> None:
        self._fill(box.inflate(2 * thickness, 2 * thickness), color, thickness)

    def _outlined(self, box: Rect, edge: Color, inside: Color) -> None:
        border = max(round(1.4 * self._s), 1)
        inner = box.inflate(-2 * border, -2 * border)
        self._fill(box, edge, box.height / 2)
        self._fill(inner, inside, inner.height / 2)

    @staticmethod
    def _lit(view: View, action: Action | None) -> float:
        return view.lit[1] if view.lit is not None and view.lit[0] == action else 0.0

    @staticmethod
    def _lit_clip(view: View, clip: int | None) -> float:
        if view.lit is None or view.question is None or clip not in view.question.lit_clips(view.lit[0]):
            return 0.0
        return view.lit[1]


def draw_clips(target: pygame.Surface, question: Question, picture: Picture) -> None:
    """Draw a moment of the clips, and what of the question moves with them, over the background."""
    colors, height = picture.colors, max(round(3 * picture.arrangement.scale), 2)
    for clip, box in zip(picture.clips, picture.arrangement.clips, strict=True):
        if not clip.frames:
            continue
        frame = clip.frames[min(picture.frame, len(clip.frames) - 1)]
        target.blit(frame if frame.get_size() == box.size else pygame.transform.scale(frame, box.size), box)
        # A thin line at the foot of the clip, as long as the share of it that has been played.
        line = Rect(box.left, box.bottom - height, box.width, height)
        pygame.draw.rect(target, colors.surface_strong, line)
        line.width = round(box.width * (picture.frame + 1) / picture.frames)
        pygame.draw.rect(target, colors.muted, line)
    question.draw(target, picture)
