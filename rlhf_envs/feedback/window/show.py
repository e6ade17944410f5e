"""Turns events into wishes and what is going on into pictures."""

from __future__ import annotations

import time

import pygame

from rlhf_envs.envs.palette import THEMES
from rlhf_envs.feedback.window.chrome import Chrome
from rlhf_envs.feedback.window.intents import Action, Intent, intent_of
from rlhf_envs.feedback.window.layout import Layout, lay_out
from rlhf_envs.feedback.window.mouse import Mouse
from rlhf_envs.feedback.window.pictures import draw_pictures
from rlhf_envs.feedback.window.sitting import Sitting
from rlhf_envs.feedback.window.timing import FRAMES_PER_SECOND, WindowFigures
from rlhf_envs.feedback.window.view import Moment, Scene

_SETTLED_SECONDS = 0.2
_BY_HAND = (pygame.KEYDOWN, pygame.MOUSEBUTTONDOWN, pygame.MOUSEMOTION)
_TICK = 1 / FRAMES_PER_SECOND


class Show:
    """Events in, pictures out, 60 times a second; draws only what has changed.

    Args:
        window: to draw in.
        sitting: what is going on in it.

    Attributes:
        figures: what was measured so far.
        window, sitting: as given.
        layout: where things are now.
    """

    def __init__(self, window: pygame.Window, sitting: Sitting) -> None:
        self.figures = WindowFigures()
        self.window = window
        self.sitting = sitting
        self._scene = Scene(sitting.theme)
        self._moment = Moment()
        self._chrome = Chrome(window.get_surface().get_size(), self._scene)
        self._settled = (self._chrome.size, 0.0)
        self._clip_size = self._chrome.size
        self._clip_sizes: dict[tuple[object, ...], tuple[int, int]] = {}
        self._mouse = Mouse(sitting)
        self._exposed = True
        self._began = self._due = time.perf_counter()

    @property
    def layout(self) -> Layout:
        """See the class."""
        return self._chrome.layout

    @property
    def surface(self) -> pygame.Surface:
        """What is in the window now."""
        return self.window.get_surface()

    def run(self) -> None:
        """Until the person leaves."""
        while not self.sitting.left:
            self.tick()

    def tick(self) -> None:
        """Wait until somebody does something, at most until the next tick is due; then take in and draw what is new."""
        wait = self._due - time.perf_counter()
        first = pygame.event.wait(max(round(1000 * wait), 1)) if wait > 0 else pygame.event.poll()
        now = time.perf_counter()
        for event in (first, *pygame.event.get()):
            self._handle(event, now)
        if now >= self._due:
            self.figures.tick(now - self._due)
            self._due = max(self._due + _TICK, now)
        self.sitting.follow(now, self._size_of_clips)
        self._draw(now)
        self.figures.answers = self.sitting.given
        self.figures.seconds = now - self._began

    def _handle(self, event: pygame.Event, now: float) -> None:
        sitting = self.sitting
        intent: Intent | None = None
        if event.type in _BY_HAND:
            self.sitting.somebody_is_there()
        if event.type in (pygame.QUIT, pygame.WINDOWCLOSE):
            intent = Intent(Action.LEAVE)
        elif event.type in (pygame.KEYDOWN, pygame.KEYUP):
            pressed = event.type == pygame.KEYDOWN
            typed, modifiers = getattr(event, "unicode", ""), getattr(event, "mod", 0)
            intent = intent_of(sitting.kind, event.key, pressed, typed, modifiers)
        elif event.type in (pygame.MOUSEMOTION, pygame.MOUSEBUTTONDOWN, pygame.MOUSEBUTTONUP):
            intent = self._mouse.intent(event, self._in_pixels(event.pos), self.layout)
        elif event.type == pygame.WINDOWEXPOSED:
            self._exposed = True
        if intent is not None:
            sitting.act(intent, now)
            # Several events may have come at once, and the next one may be meant for the next question.
            sitting.follow(now, self._size_of_clips)

    def _draw(self, now: float) -> None:
        scene, moment = self.sitting.scene(now), self.sitting.moment(now)
        target = self.surface
        if target.get_size() != self._chrome.size or scene.theme != self._chrome.theme:
            self._chrome = Chrome(target.get_size(), scene)
            self._settled = (self._chrome.size, now + _SETTLED_SECONDS)
            self._exposed = True
        elif scene != self._scene:
            self._chrome.draw(scene)
            self._exposed = True
        if moment.carried != self._moment.carried:
            # What the mouse carried has covered what is not drawn anew with every frame.
            self._exposed = True
        if self._exposed:
            target.blit(self._chrome.canvas.surface, (0, 0))
        if self._exposed or moment != self._moment:
            clips = self.sitting.clips or ()
            if clips:
                draw_pictures(target, clips, moment, self._chrome.layout, THEMES[scene.theme])
            self.window.flip()
            self.figures.drawn += 1
            self._count(moment)
        self._scene, self._moment, self._exposed = scene, moment, False
        passed = self.sitting.was_shown(time.perf_counter())
        if passed is not None:
            self.figures.to_next.append(passed)

    def _count(self, moment: Moment) -> None:
        if moment.look != self._moment.look or moment.frame == self._moment.frame:
            return
        self.figures.shown += 1
        self.figures.skipped += max(moment.frame - self._moment.frame - 1, 0)

    def _size_of_clips(self, scene: Scene) -> tuple[int, int]:
        """How large the clips of a scene are; while the window is being resized, how large they were before."""
        size, at = self._settled
        if time.perf_counter() >= at:
            self._clip_size = size
        key = (self._clip_size, scene.kind, scene.clips)
        if key not in self._clip_sizes:
            layout = lay_out(self._clip_size, scene, self._chrome.canvas.text_width)
            self._clip_sizes[key] = layout.clips[0].size
        return self._clip_sizes[key]

    def _in_pixels(self, place: tuple[int, int]) -> tuple[int, int]:
        """Where the mouse is: some systems tell it in points, of which each is several pixels."""
        factor = self.surface.get_width() / self.window.size[0]
        return round(place[0] * factor), round(place[1] * factor)
