"""Opens the labelling window, turns events into actions, and draws what has changed, until the person leaves."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pygame

from rlhf_envs.envs.palette import THEME_NAMES
from rlhf_envs.envs.rendering import opening_window
from rlhf_envs.feedback.correcting import corrector
from rlhf_envs.feedback.guidance import guidance
from rlhf_envs.feedback.outbox import Outbox
from rlhf_envs.feedback.progress import GRACE_SECONDS
from rlhf_envs.feedback.session import AnnotatorSession
from rlhf_envs.feedback.window.clips import SPEEDS, ClipCache
from rlhf_envs.feedback.window.drawing import USUAL_SIZE, Background, Layout, View, draw_clips, lay_out
from rlhf_envs.feedback.window.questions import MOVE, PRESS, RELEASE, Action, action_of_key
from rlhf_envs.feedback.window.screen import QUESTIONS, LabellingScreen, Moment
from rlhf_envs.queries import Purpose, Query

SMALLEST_SIZE = (640, 440)
FRAMES_PER_SECOND = 60

_SETTLED_SECONDS = 0.2
_LEFT_BUTTON = 1
_BY_HAND = (pygame.KEYDOWN, pygame.MOUSEBUTTONDOWN, pygame.MOUSEMOTION)
_MOUSE_EVENTS = {pygame.MOUSEMOTION: MOVE, pygame.MOUSEBUTTONDOWN: PRESS, pygame.MOUSEBUTTONUP: RELEASE}
_ARROW_KEYS = (pygame.K_LEFT, pygame.K_RIGHT, pygame.K_UP, pygame.K_DOWN)
_TICK = 1 / FRAMES_PER_SECOND


@dataclass
class WindowFigures:
    """What the window measured of itself.

    Attributes:
        answers: how many the person gave.
        unsaved: how many of them were still not stored when the window was left in spite of that.
        to_next: seconds from each answer to the next question being on screen, where there was a next one.
        ticks: how many times the window looked whether there was something to do or to draw.
        missed: how many times it should have looked, 60 times a second, and did not get to it.
        drawn: how many times it drew something.
        skipped: frames of clips that were never on screen because their time was over before they were drawn.
        shown: frames of clips that were.
        seconds: how long the window was open.
    """

    answers: int = 0
    unsaved: int = 0
    to_next: list[float] = field(default_factory=list)
    ticks: int = 0
    missed: int = 0
    drawn: int = 0
    skipped: int = 0
    shown: int = 0
    seconds: float = 0.0

    @property
    def median_ms(self) -> float | None:
        """Median milliseconds from an answer to the next question on screen; None before there is any."""
        return 1000 * statistics.median(self.to_next) if self.to_next else None

    @property
    def p95_ms(self) -> float | None:
        """What 95% of them stay below; None before there are at least two."""
        return 1000 * statistics.quantiles(self.to_next, n=20)[-1] if len(self.to_next) > 1 else None


class LabellingWindow:
    """Events in, pictures out, 60 times a second; draws only what has changed.

    Args:
        window: to draw in.
        screen: what is going on in it.

    Attributes:
        window, screen: see the arguments.
        figures: what was measured so far.
    """

    def __init__(self, window: pygame.Window, screen: LabellingScreen) -> None:
        self.window = window
        self.screen = screen
        self.figures = WindowFigures()
        self._view = View(screen.theme)
        self._moment = Moment()
        self._background = Background(window.get_surface().get_size(), self._view)
        self._settled = (self._background.size, 0.0)
        self._clip_sizes: dict[tuple[object, ...], tuple[int, int]] = {}
        self._sized_for = self._background.size
        self._exposed = True
        self._began = self._due = time.perf_counter()

    @property
    def layout(self) -> Layout:
        """Where things are now."""
        return self._background.layout

    @property
    def surface(self) -> pygame.Surface:
        """What is in the window now."""
        return self.window.get_surface()

    def run(self, until_finished: bool = False) -> None:
        """Until the person leaves; with `until_finished` at most until `GRACE_SECONDS` after everything is over."""
        over_since = None
        while not self.screen.closed:
            self.tick()
            over = until_finished and bool(self.screen.known.summary)
            over_since = (over_since or time.monotonic()) if over else None
            if over_since is not None and time.monotonic() - over_since > GRACE_SECONDS:
                return

    def tick(self) -> None:
        """Wait for an event, at most until the next tick is due; then take in and draw what is new."""
        wait = self._due - time.perf_counter()
        first = pygame.event.wait(max(round(1000 * wait), 1)) if wait > 0 else pygame.event.poll()
        now = time.perf_counter()
        for event in (first, *pygame.event.get()):
            self._handle(event, now)
        if now >= self._due:
            self.figures.ticks += 1
            self.figures.missed += int(max(now - self._due, 0.0) * FRAMES_PER_SECOND)
            self._due = max(self._due + _TICK, now)
        self.screen.update(now, self._clip_size)
        self._draw(now)
        self.figures.answers = self.screen.answers
        self.figures.seconds = now - self._began

    def _handle(self, event: pygame.Event, now: float) -> None:
        screen = self.screen
        if event.type in _BY_HAND:
            screen.note_activity()
        if event.type == pygame.WINDOWEXPOSED:
            self._exposed = True
        elif screen.correction is not None and event.type in (pygame.KEYDOWN, pygame.KEYUP):
            screen.press_while_correcting(event.key, event.type == pygame.KEYDOWN, now)
            screen.update(now, self._clip_size)
        elif screen.correction is not None and event.type == pygame.JOYAXISMOTION:
            screen.correction.move_axis(event.axis, event.value)
        elif event.type in _MOUSE_EVENTS:
            if event.type == pygame.MOUSEMOTION or event.button == _LEFT_BUTTON:
                screen.point(_MOUSE_EVENTS[event.type], self._in_pixels(event.pos), self.layout, now)
                screen.update(now, self._clip_size)
        else:
            action = _action(event, screen)
            if action is None and _is_meant(event):
                screen.refuse_key(now)
            if action is not None:
                screen.act(action, now)
                # Several events may have come at once, and the next one may be meant for the next question.
                screen.update(now, self._clip_size)

    def _draw(self, now: float) -> None:
        view, moment = self.screen.view(now), self.screen.moment(now)
        target = self.surface
        if target.get_size() != self._background.size or view.theme != self._background.theme:
            self._background = Background(target.get_size(), view)
            self._settled = (self._background.size, now + _SETTLED_SECONDS)
            self._exposed = True
        elif view != self._view:
            self._background.draw(view)
            self._exposed = True
        if moment.floating != self._moment.floating:
            # What moved has covered what is not drawn anew with every frame.
            self._exposed = True
        if self._exposed:
            target.blit(self._background.canvas.surface, (0, 0))
        if self._exposed or moment != self._moment:
            picture = self.screen.picture(now, self.layout.arrangement)
            if picture is not None and view.question is not None:
                draw_clips(target, view.question, picture)
            self.window.flip()
            self.figures.drawn += 1
            self._count(moment)
        self._view, self._moment, self._exposed = view, moment, False
        passed = self.screen.after_draw(time.perf_counter())
        if passed is not None:
            self.figures.to_next.append(passed)

    def _count(self, moment: Moment) -> None:
        if moment.pictures != self._moment.pictures or moment.frame == self._moment.frame:
            return
        self.figures.shown += 1
        self.figures.skipped += max(moment.frame - self._moment.frame - 1, 0)

    def _clip_size(self, query: Query) -> tuple[int, int]:
        """How large the clips of a query are; while the window is being resized, how large they were before."""
        size, at = self._settled
        if time.perf_counter() >= at:
            self._sized_for = size
        key = (self._sized_for, query.kind, query.purpose, len(query.segments))
        if key not in self._clip_sizes:
            layout = lay_out(self._sized_for, self.screen.outline(query), self._background.canvas.text_width)
            self._clip_sizes[key] = layout.arrangement.clips[0].size
        return self._clip_sizes[key]

    def _in_pixels(self, place: tuple[int, int]) -> tuple[int, int]:
        """Where the mouse is: some systems report it in points, of which each is several pixels."""
        factor = self.surface.get_width() / self.window.size[0]
        return round(place[0] * factor), round(place[1] * factor)


def _action(event: pygame.Event, screen: LabellingScreen) -> Action | None:
    if event.type in (pygame.QUIT, pygame.WINDOWCLOSE):
        return Action("close")
    if event.type not in (pygame.KEYDOWN, pygame.KEYUP):
        return None
    typed, modifiers = getattr(event, "unicode", ""), getattr(event, "mod", 0)
    return action_of_key(screen.question, event.key, event.type == pygame.KEYDOWN, typed, modifiers)


def _is_meant(event: pygame.Event) -> bool:
    """Whether a key is pressed to answer something, rather than together with another one."""
    if event.type != pygame.KEYDOWN or getattr(event, "mod", 0) & (
        pygame.KMOD_CTRL | pygame.KMOD_ALT | pygame.KMOD_META
    ):
        return False
    typed = getattr(event, "unicode", "")  # which events posted by a program may lack
    return (typed != "" and typed.isprintable()) or event.key in _ARROW_KEYS


def label_in_window(
    session: AnnotatorSession,
    *,
    theme: str = "light",
    size: tuple[int, int] = USUAL_SIZE,
    speed: float = 1.0,
    until_finished: bool = False,
) -> WindowFigures:
    """Show an annotator's queries in a window and store what they answer, until they close it.

    Answers are stored while the next clips play. Where the store cannot do its work, the window says why, keeps the
    answers and stores them as soon as it can.

    Args:
        session: whose queries and answers these are.
        theme: "light" or "dark", to begin with.
        size: (width, height) of the window in pixels, to begin with.
        speed: how many times as fast as natural clips are played, to begin with.
        until_finished: close the window by itself some minutes after everything is over, if the person has not.

    Returns:
        What the window measured of itself.

    Raises:
        RuntimeError: if no window can be opened.
        ValueError: if a setting is out of its range.
        gymnasium.error.Error: if the environment cannot be made with the arguments that the store names.
    """
    with open_window(session, theme=theme, size=size, speed=speed) as window:
        window.run(until_finished)
    return window.figures


@contextmanager
def open_window(
    session: AnnotatorSession, *, theme: str = "light", size: tuple[int, int] = USUAL_SIZE, speed: float = 1.0
) -> Iterator[LabellingWindow]:
    """The window of `label_in_window`, open as long as the context; the caller calls its `run` or `tick`."""
    if theme not in THEME_NAMES:
        raise ValueError(f"theme must be one of {', '.join(THEME_NAMES)}, not {theme!r}.")
    if size[0] < SMALLEST_SIZE[0] or size[1] < SMALLEST_SIZE[1]:
        raise ValueError(f"A window must be at least {SMALLEST_SIZE[0]}x{SMALLEST_SIZE[1]}, not {size[0]}x{size[1]}.")
    if not SPEEDS[0] <= speed <= SPEEDS[-1]:
        raise ValueError(f"speed must be between {SPEEDS[0]} and {SPEEDS[-1]:g} times the natural one, not {speed}.")
    environment = session.store.environment
    texts = guidance(environment)
    display = _open_display(environment.required.id, size)
    cache = ClipCache(environment, display.get_surface())
    introduces = session.introduces and session.is_new()
    outbox = Outbox(session, tuple(QUESTIONS))
    acting = corrector(environment.ref) if Purpose.TRAIN in session.purposes else None
    screen = LabellingScreen(outbox, cache, texts, theme, speed, introduces, environment, acting)
    window = LabellingWindow(display, screen)
    try:
        yield window
    finally:
        window.figures.unsaved = outbox.close()
        cache.close()
        display.destroy()
        pygame.display.quit()


def measure_window(
    session: AnnotatorSession, answers: int, *, pause: float = 0.8, size: tuple[int, int] = USUAL_SIZE
) -> WindowFigures:
    """Open the window, press the left arrow some times, and close it; what the window measured meanwhile.

    The answers are stored: give it a store of its own, with comparisons enough.

    Args:
        session: whose queries these are.
        answers: how many to give.
        pause: seconds from one to the next; people take about 3.
        size: (width, height) of the window in pixels.

    Raises:
        RuntimeError: if no window can be opened.
        TimeoutError: if for 10 seconds there is nothing to answer.
    """
    with open_window(session, size=size) as window:
        press_at = time.perf_counter() + pause
        while window.screen.answers < answers:
            window.tick()
            now = time.perf_counter()
            if now >= press_at and window.screen.clips is not None:
                pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_LEFT))
                press_at = now + pause
            elif now >= press_at + 10.0:
                raise TimeoutError(f"Only {window.screen.answers} of {answers} comparisons could be answered.")
        while window.screen.answered_at is not None:
            window.tick()
    return window.figures


def _open_display(title: str, size: tuple[int, int]) -> pygame.Window:
    # On Windows a program that does not ask for real pixels is shown enlarged, and blurred.
    os.environ.setdefault("SDL_WINDOWS_DPI_AWARENESS", "permonitorv2")
    with opening_window("; on a machine without a screen answer in a browser with --feedback web"):
        window = pygame.Window(title, size, resizable=True, allow_high_dpi=True)
        window.minimum_size = SMALLEST_SIZE
    return window
