"""Draws what moves: the clips' frames, how far they have played, and the curve of a rating."""

from __future__ import annotations

from collections.abc import Sequence

import pygame
from pygame import Rect

from rlhf_envs.envs.palette import Palette
from rlhf_envs.feedback.window.gallery import Clip
from rlhf_envs.feedback.window.layout import Layout
from rlhf_envs.feedback.window.view import Moment


def draw_pictures(
    target: pygame.Surface, clips: Sequence[Clip], moment: Moment, layout: Layout, colors: Palette
) -> None:
    """Draw a moment of the clips, one per box of the layout, over what surrounds them."""
    for clip, box in zip(clips, layout.clips, strict=True):
        if not clip.frames:
            continue
        frame = clip.frames[min(moment.frame, len(clip.frames) - 1)]
        if frame.get_size() != box.size:
            frame = pygame.transform.scale(frame, box.size)
        target.blit(frame, box)
        _played(target, box, moment, layout, colors)
    if moment.carried is not None and moment.carried[0] < len(clips) and clips[moment.carried[0]].frames:
        _carried(target, clips[moment.carried[0]], moment.carried[1], moment, colors)
    if layout.level is not None and layout.curve is not None:
        _level(target, layout.level, moment, layout, colors)
        _curve(target, layout.curve, moment, layout, colors)


def _carried(target: pygame.Surface, clip: Clip, place: tuple[int, int], moment: Moment, colors: Palette) -> None:
    """A clip on its way to another's place, small enough to see where that is."""
    frame = clip.frames[min(moment.frame, len(clip.frames) - 1)]
    small = pygame.transform.smoothscale(frame, (frame.get_width() // 2, frame.get_height() // 2))
    box = small.get_rect(center=place)
    pygame.draw.rect(target, colors.accent, box.inflate(6, 6), border_radius=4)
    target.blit(small, box)


def _played(target: pygame.Surface, box: Rect, moment: Moment, layout: Layout, colors: Palette) -> None:
    """A thin line at the foot of a clip, as long as the share of it that has been played."""
    height = max(round(3 * layout.scale), 2)
    share = (moment.frame + 1) / moment.frames
    line = Rect(box.left, box.bottom - height, box.width, height)
    pygame.draw.rect(target, colors.surface_strong, line)
    line.width = round(box.width * share)
    pygame.draw.rect(target, colors.muted, line)


def _level(target: pygame.Surface, box: Rect, moment: Moment, layout: Layout, colors: Palette) -> None:
    """The bar that shows the rating being given, up from the middle or down."""
    radius = round(6 * layout.scale)
    pygame.draw.rect(target, colors.surface_strong, box, border_radius=radius)
    reach = round(abs(moment.level) * box.height / 2)
    if reach:
        color = colors.good if moment.level > 0 else colors.bad
        top = box.centery - reach if moment.level > 0 else box.centery
        pygame.draw.rect(target, color, (box.left, top, box.width, reach), border_radius=min(radius, reach // 2))
    pygame.draw.rect(target, colors.muted, (box.left, box.centery - 1, box.width, max(round(2 * layout.scale), 1)))


def _curve(target: pygame.Surface, box: Rect, moment: Moment, layout: Layout, colors: Palette) -> None:
    """What was said of each step so far: a bar per step, up or down from a line in the middle."""
    s = layout.scale
    pygame.draw.rect(target, colors.surface, box, border_radius=round(6 * s))
    step = box.width / moment.frames
    for number, rating in enumerate(moment.ratings):
        left, right = box.left + number * step, box.left + (number + 1) * step
        reach = round(abs(rating) * (box.height / 2 - 6 * s))
        color = colors.good if rating > 0 else colors.bad
        top = box.centery - reach if rating > 0 else box.centery
        if reach:
            width = max(round(right) - round(left) - max(round(2 * s), 1), 1)
            pygame.draw.rect(target, color, (round(left) + 1, top, width, reach), border_radius=round(2 * s))
    pygame.draw.line(target, colors.line, (box.left, box.centery), (box.right - 1, box.centery), max(round(s), 1))
    x = round(box.left + (moment.frame + 0.5) * step)
    pygame.draw.line(target, colors.muted, (x, box.top), (x, box.bottom - 1), max(round(1.5 * s), 1))
