"""Draws everything but the moving pictures."""

from __future__ import annotations

from pygame import Rect

from rlhf_envs.envs.canvas import Canvas
from rlhf_envs.envs.palette import Color
from rlhf_envs.feedback.window.controls import CAPTIONS, Control, clip_intent
from rlhf_envs.feedback.window.footer import draw_footer
from rlhf_envs.feedback.window.intents import Action, Intent
from rlhf_envs.feedback.window.keycaps import draw_control, fill
from rlhf_envs.feedback.window.layout import KEY_TEXT, LABEL_TEXT, RUBRIC_TEXT, Layout, lay_out, wrap
from rlhf_envs.feedback.window.view import Chip, Scene
from rlhf_envs.queries import Kind

_PLACES = ("best", "2nd", "3rd", "4th", "5th")


class Chrome:
    """What surrounds the clips, on a canvas of the window's size.

    Args:
        size: (width, height) of the window in pixels.
        scene: what to draw.
    """

    def __init__(self, size: tuple[int, int], scene: Scene) -> None:
        self.size = size
        self.theme = scene.theme
        self.canvas = Canvas(*size, theme=scene.theme)
        self.canvas.scale = 1.0
        self.layout = self.draw(scene)

    def draw(self, scene: Scene) -> Layout:
        """Draw a scene of the same theme; where everything is."""
        layout = self.layout = lay_out(self.size, scene, self.canvas.text_width)
        canvas, colors, s = self.canvas, self.canvas.colors, layout.scale
        canvas.surface.fill(colors.background)
        for number, line in enumerate(layout.rubric):
            y = layout.rubric_box.top + (number + 0.5) * layout.rubric_box.height / len(layout.rubric)
            canvas.text(layout.rubric_box.left, y, line, colors.ink, RUBRIC_TEXT * s)
        if scene.message is not None:
            self._message(scene.message, layout)
        for number in range(len(layout.clips)):
            self._clip(number, scene, layout)
        for chip, box in zip(scene.chips, layout.chips, strict=False):
            self._chip(chip, box, scene, layout)
        self._controls(scene, layout)
        if layout.level is not None:
            self._level(layout.level, layout)
        draw_footer(canvas, scene, layout)
        return layout

    def _message(self, message: tuple[str, str], layout: Layout) -> None:
        canvas, s, box = self.canvas, layout.scale, layout.message
        canvas.text(box.centerx, box.centery - 18 * s, message[0], canvas.colors.ink, 26 * s, "center")
        lines = wrap(message[1], 16 * s, box.width, canvas.text_width, 3)
        for number, line in enumerate(lines):
            canvas.text(box.centerx, box.centery + (18 + 22 * number) * s, line, canvas.colors.muted, 16 * s, "center")

    def _clip(self, number: int, scene: Scene, layout: Layout) -> None:
        canvas, colors, s = self.canvas, self.canvas.colors, layout.scale
        box, intent = layout.clips[number], clip_intent(scene.kind, number)
        chosen = _lit(scene, intent)
        lit = chosen or (_lit(scene, Intent(Action.TIE)) if scene.kind is Kind.COMPARISON else 0.0)
        pointed = intent is not None and scene.pointed == intent
        if lit:
            _frame(canvas, box, round(4 * s), _mixed(colors.background, colors.accent, lit))
        else:
            _frame(canvas, box, max(round(1.4 * s), 1), colors.muted if pointed else colors.line)
        fill(canvas, box, colors.surface)
        problem = scene.problems[number] if number < len(scene.problems) else None
        if problem is not None:
            lines = wrap(problem, 14 * s, box.width - 40 * s, canvas.text_width, 6)
            for line_number, line in enumerate(lines):
                y = box.centery + (line_number - (len(lines) - 1) / 2) * 20 * s
                canvas.text(box.centerx, y, line, colors.bad, 14 * s, "center")
        caption = layout.captions[number]
        if scene.kind is Kind.COMPARISON:
            color = _mixed(colors.ink if pointed else colors.muted, colors.accent, chosen)
            draw_control(canvas, CAPTIONS[number], caption, color, s, centred=True)
        elif scene.kind is Kind.RANKING:
            self._place(number, scene, caption, layout)

    def _place(self, number: int, scene: Scene, caption: Rect, layout: Layout) -> None:
        canvas, colors, s = self.canvas, self.canvas.colors, layout.scale
        place = scene.places[number]
        if place is None:
            word = "best?" if not any(scene.places) else "next?"
            draw_control(canvas, Control((str(number + 1),), word, None), caption, colors.muted, s, centred=True)
            return
        word = "worst" if place == len(scene.places) else _PLACES[place - 1]
        width, height = canvas.text_width(word, LABEL_TEXT * s) + 28 * s, 24 * s
        top = caption.centery - height / 2
        canvas.rectangle(caption.centerx - width / 2, top, width, height, colors.accent, radius=height / 2)
        canvas.text(caption.centerx, caption.centery, word, colors.surface, LABEL_TEXT * s, "center")

    def _chip(self, chip: Chip, box: Rect, scene: Scene, layout: Layout) -> None:
        canvas, colors, s = self.canvas, self.canvas.colors, layout.scale
        pointed = scene.pointed == Intent(Action.REASON, scene.chips.index(chip))
        edge = colors.accent if chip.on else colors.muted if pointed else colors.line
        fill(canvas, box, edge, box.height / 2)
        border = max(round(1.4 * s), 1)
        inside = box.inflate(-2 * border, -2 * border)
        fill(canvas, inside, colors.accent if chip.on else colors.surface, inside.height / 2)
        left = box.left + 14.0 * s
        if chip.number is not None:
            quiet = colors.surface if chip.on else colors.muted
            canvas.text(left, box.centery, str(chip.number), quiet, KEY_TEXT * s)
            left += canvas.text_width(str(chip.number), KEY_TEXT * s) + 9 * s
        canvas.text(left, box.centery, chip.label, colors.surface if chip.on else colors.ink, LABEL_TEXT * s)

    def _controls(self, scene: Scene, layout: Layout) -> None:
        colors, s = self.canvas.colors, layout.scale
        for placed in layout.controls:
            intent = placed.control.intent
            lit = _lit(scene, intent)
            possible = intent != Intent(Action.CONFIRM) or scene.ready
            if possible and intent is not None and (lit or scene.pointed == intent):
                shade = _mixed(colors.surface_strong, colors.accent, lit * 0.5)
                fill(self.canvas, placed.rect, shade, 7 * s)
            color = colors.line if not possible else colors.ink
            if intent == Intent(Action.CONFIRM) and scene.ready:
                color = colors.accent
            draw_control(self.canvas, placed.control, placed.rect, color, s)
        if layout.speed.width:
            text = "paused" if scene.paused else f"{scene.speed:g}×"
            size = (KEY_TEXT if scene.paused else LABEL_TEXT) * s
            self.canvas.text(*layout.speed.center, text, colors.muted, size, "center")

    def _level(self, box: Rect, layout: Layout) -> None:
        """What stands at the ends of the bar of a rating."""
        canvas, colors, s = self.canvas, self.canvas.colors, layout.scale
        for key, word, y in (("up", "good", box.top - 15 * s), ("down", "bad", box.bottom + 15 * s)):
            control = Control((key,), word, None)
            around = Rect(0, 0, round(box.width + 60 * s), round(22 * s))
            around.center = (box.centerx, round(y))
            draw_control(canvas, control, around, colors.muted, s, centred=True)


def _lit(scene: Scene, intent: Intent | None) -> float:
    return scene.lit[1] if scene.lit is not None and intent is not None and scene.lit[0] == intent else 0.0


def _frame(canvas: Canvas, box: Rect, thickness: int, color: Color) -> None:
    fill(canvas, box.inflate(2 * thickness, 2 * thickness), color, thickness)


def _mixed(one: Color, other: Color, share: float) -> Color:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue
