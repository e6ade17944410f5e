"""Films a policy, with what it earns step by step drawn below the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from math import ceil, sqrt
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import pygame
from gymnasium import Env
from numpy.typing import NDArray

from rlhf_envs.clips import encode_mp4, letterbox, render_picture
from rlhf_envs.clips.painting import draw_over
from rlhf_envs.environment import EnvironmentRef, picture_rate
from rlhf_envs.envs.canvas import Canvas
from rlhf_envs.envs.palette import THEMES, Color, blend
from rlhf_envs.envs.rendering import FRAME_SIZE, checked_frame_size
from rlhf_envs.evaluation.episodes import FIRST_SEED, Copies, Transition, play
from rlhf_envs.evaluation.policies import AnyPolicy, bind
from rlhf_envs.observations import Transitions
from rlhf_envs.wrappers import UncertainRewardFunction
from rlhf_envs.wrappers.rewards import rewards_of

_SLOWEST, _FASTEST, _USUAL = 10.0, 40.0, 15.0
_LONGEST_AXIS = 400
_HELD_SECONDS = 0.6
_FILM_RATE = 20.0
_MARGIN, _LABELS, _VALUES = 12, 124, 52
_GRAPH_HEIGHT, _LINE_HEIGHT, _ROW_HEIGHT, _GAP = 72, 17, 15, 9
_LONGEST_LABEL, _SMALL_LABEL = 21, 25
_HEADINGS = "true reward: its terms", "learned reward: what it goes by"
_SMALLEST_RANGE = 1e-3

Floats = NDArray[np.float64]

Explanation = Callable[[Transitions], Mapping[str, float]]
"""What each input adds to the learned reward of a single transition, by name; always the same names in one order."""


class EpisodeRenderer:
    """Plays episodes in one copy of an environment, and draws each step with a chart of its rewards below.

    Args:
        environment: which one, or its id.
        reward_model: whose reward is drawn; None draws the true reward only.
        width: of the picture in pixels, its height is two thirds of that; the chart below adds to the height.
        theme: "light" or "dark".
        explanation: of the learned reward, drawn as further strips; None for none.

    Attributes:
        frames_per_second: the rate at which an episode looks natural, between 10 and 40.

    Raises:
        ValueError: for an unknown id or theme, or an environment that cannot be drawn.
    """

    def __init__(
        self,
        environment: EnvironmentRef | str,
        *,
        reward_model: UncertainRewardFunction | None = None,
        width: int = FRAME_SIZE[0],
        theme: str = "light",
        explanation: Explanation | None = None,
    ) -> None:
        self._explanation = explanation
        self.picture_size = checked_frame_size((width, round(width * FRAME_SIZE[1] / FRAME_SIZE[0])), theme)
        self.theme = theme
        environment = EnvironmentRef.of(environment)
        self._env = _drawable(environment, self.picture_size, theme)
        self._copies = Copies(environment, [self._env])
        self.frames_per_second = min(max(picture_rate(self._env) or _USUAL, _SLOWEST), _FASTEST)
        self._horizon = environment.episode_length()
        self._axis_length = min(self._horizon, _LONGEST_AXIS)
        self._reward_model = reward_model
        self._canvas: Canvas | None = None

    def frames(self, policy: AnyPolicy, seed: int = FIRST_SEED, every: int = 1) -> Iterator[NDArray[np.uint8]]:
        """Play one episode: a frame (height, width, 3) uint8 after each step, or after every so many.

        Where it ends before the horizon, the last frames say so.
        """
        trace = Trace()
        chart: StripChart | None = None
        for step, transition in enumerate(play(bind(policy, self._copies), self._copies, seed)):
            terms = {name: values[0] for name, values in transition.result.terms.items()}
            learned, spread = self._learned(transition)
            causes = {} if self._explanation is None else self._explanation(transitions_of(transition))
            trace.add(transition.result.true_rewards[0], terms, learned, spread, causes)
            if chart is None:
                chart = StripChart(self._axis_length, list(trace.terms), learned is not None, list(trace.causes))
            if step % every == 0:
                yield self._frame(chart, trace)
        if chart is not None and len(trace.true) < self._horizon:
            for _ in range(round(_HELD_SECONDS * self.frames_per_second / every)):
                yield self._frame(chart, trace, over=True)

    def _learned(self, transition: Transition) -> tuple[float | None, float | None]:
        """The learned reward of a step and its uncertainty; twice None without a reward model."""
        model = self._reward_model
        if model is None:
            return None, None
        reward = rewards_of(model, transitions_of(transition))
        return float(reward[0]), float(model.spread(transition.observations, transition.actions)[0])

    def close(self) -> None:
        """Close the environment."""
        self._copies.close()

    def _frame(self, chart: StripChart, trace: Trace, over: bool = False) -> NDArray[np.uint8]:
        width, height = self.picture_size
        scale = width / FRAME_SIZE[0]
        if self._canvas is None:
            self._canvas = Canvas(width, height + round(chart.height * scale), self.theme)
        rendered = render_picture(self._env, self._copies.environment.id)
        picture = letterbox(rendered, self.picture_size, THEMES[self.theme].background)
        if over:
            picture = draw_over(picture, self.theme)
        image = pygame.image.frombuffer(picture.tobytes(), self.picture_size, "RGB")
        self._canvas.surface.blit(image, (0, 0))
        chart.draw(self._canvas, height / scale, trace)
        return self._canvas.pixels()


def film(
    policy: AnyPolicy,
    environment: EnvironmentRef | str,
    *,
    path: Path | None = None,
    seconds: float | None = None,
    episodes: int = 1,
    seed: int = FIRST_SEED,
    reward_model: UncertainRewardFunction | None = None,
    width: int = FRAME_SIZE[0],
    theme: str = "light",
    explanation: Explanation | None = None,
) -> bytes:
    """Film a policy at the environment's own frame rate, as an mp4 that every browser plays.

    Of environments that take more than 20 steps a second, every second step is shown.

    Args:
        policy: whose actions.
        environment: which one, or its id.
        path: where to write the film too.
        seconds: ends the film after this time; None films whole episodes.
        episodes: how many.
        seed: episode i begins with seed + i.
        reward_model, width, theme, explanation: see `EpisodeRenderer`.

    Raises:
        ValueError: as `EpisodeRenderer`, or if there is nothing to film.
    """
    if episodes < 1:
        raise ValueError(f"At least 1 episode must be filmed, not {episodes}.")
    if seconds is not None and seconds <= 0:
        raise ValueError(f"A film must last more than 0 seconds, not {seconds}.")
    renderer = EpisodeRenderer(
        environment, reward_model=reward_model, width=width, theme=theme, explanation=explanation
    )
    with closing(renderer):
        every = ceil(renderer.frames_per_second / _FILM_RATE)
        rate = renderer.frames_per_second / every
        most = None if seconds is None else max(round(seconds * rate), 1)
        played = chain.from_iterable(renderer.frames(policy, seed + episode, every) for episode in range(episodes))
        frames = list(islice(played, most))
    frames += frames[-1:] * round(_HELD_SECONDS * rate)
    stacked = np.stack(frames)
    frames.clear()
    return encode_mp4(stacked, path, rate)


def _drawable(environment: EnvironmentRef, picture_size: tuple[int, int], theme: str) -> Env[Any, Any]:
    own = {"frame_size": picture_size, "theme": theme} if environment.is_native else {}
    env = replace(environment, kwargs={**environment.kwargs, **own}).make("rgb_array")
    if env.render_mode != "rgb_array":
        raise ValueError(f"{environment.id} cannot be filmed, because it does not render as 'rgb_array'.")
    return env


@dataclass
class Trace:
    """The rewards of each step so far.

    Attributes:
        true: the true reward.
        learned, spread: the learned reward and the ensemble's uncertainty; empty without a reward model.
        terms: the contribution of each named term to the true reward.
        causes: what each input adds to the learned reward; empty without an explanation.
    """

    true: list[float] = field(default_factory=list)
    learned: list[float] = field(default_factory=list)
    spread: list[float] = field(default_factory=list)
    terms: dict[str, list[float]] = field(default_factory=dict)
    causes: dict[str, list[float]] = field(default_factory=dict)

    def add(
        self,
        true: float,
        terms: Mapping[str, float],
        learned: float | None = None,
        spread: float | None = None,
        causes: Mapping[str, float] | None = None,
    ) -> None:
        """Append one step."""
        steps = len(self.true)
        self.true.append(float(true))
        if learned is not None and spread is not None:
            self.learned.append(learned)
            self.spread.append(spread)
        for name in dict.fromkeys([*self.terms, *terms]):
            # A term that the environment names only now and then was 0 in the other steps.
            self.terms.setdefault(name, [0.0] * steps).append(float(terms.get(name, 0.0)))
        for name, share in (causes or {}).items():
            self.causes.setdefault(name, []).append(float(share))


class StripChart:
    """Draws a trace: a graph of the rewards on top, and a strip of colour for each named term and each input below.

    Lengths are in units of a picture 600 wide, as on `Canvas`.

    Args:
        horizon: how many steps the time axis holds; a longer trace scrolls.
        terms: the names of the strips, in order.
        learned: whether there is a learned reward to draw.
        causes: the names of inputs of the learned reward, whose strips follow.
    """

    def __init__(self, horizon: int, terms: list[str], learned: bool, causes: Sequence[str] = ()) -> None:
        self.horizon = max(horizon, 2)
        self.terms, self.causes = terms, list(causes)
        self.learned = learned
        groups = [group for group in (terms, self.causes) if group]
        # Strips of one kind alone need no heading.
        self._heading = _ROW_HEIGHT if self.causes else 0
        strips = sum(_GAP + self._heading + _ROW_HEIGHT * len(group) for group in groups)
        self.height = 2 * _GAP + _GRAPH_HEIGHT + strips

    def draw(self, canvas: Canvas, top: float, trace: Trace) -> None:
        """Draw the trace with its upper edge at y = `top`, across the whole width of the canvas."""
        width = canvas.width / canvas.scale
        colors = canvas.colors
        canvas.rectangle(0, top, width, self.height, colors.surface)
        canvas.line((0, top), (width, top), colors.line)
        left, right = _LABELS, width - _VALUES - _MARGIN
        canvas.rectangle(left, top + _GAP, right - left, _GRAPH_HEIGHT, colors.background)
        steps = np.arange(max(len(trace.true) - self.horizon, 0), len(trace.true))
        places = left + (steps - (steps[0] if len(steps) else 0) + 0.5) / self.horizon * (right - left)
        self._draw_graph(canvas, top + _GAP, places, trace)
        y = bottom = top + _GAP + _GRAPH_HEIGHT
        for heading, names, strips in zip(
            _HEADINGS, (self.terms, self.causes), (trace.terms, trace.causes), strict=True
        ):
            if names:
                y += _GAP
                if self._heading:
                    canvas.text(_MARGIN, y + _ROW_HEIGHT / 2 - 2, heading, colors.muted, size=11)
                bottom = self._draw_strips(canvas, y + self._heading, places, names, strips)
                y = bottom
        if len(places):
            canvas.line((places[-1], top + _GAP), (places[-1], bottom - 3), colors.muted)

    def _draw_strips(
        self, canvas: Canvas, y: float, places: Floats, names: Sequence[str], strips: Mapping[str, list[float]]
    ) -> float:
        """Draw strips of one unit, with the upper edge at y; their lower edge."""
        largest = max((abs(value) for values in strips.values() for value in values), default=0.0)
        for name in names:
            self._draw_strip(canvas, y, places, name, strips.get(name, []), max(largest, _SMALLEST_RANGE))
            y += _ROW_HEIGHT
        return y

    def _draw_graph(self, canvas: Canvas, top: float, places: Floats, trace: Trace) -> None:
        colors = canvas.colors
        right = canvas.width / canvas.scale - _MARGIN
        rows = [("true reward", trace.true, colors.muted)]
        if self.learned:
            rows.insert(0, ("learned reward", trace.learned, colors.accent))
        for row, (label, values, color) in enumerate(rows):
            y = top + 12 + _LINE_HEIGHT * row
            canvas.text(_MARGIN, y, label, color, size=12)
            if values:
                canvas.text(right, y, _signed(values[-1]), color, size=12, anchor="right")
        if self.learned:
            canvas.text(_MARGIN, top + 10 + _LINE_HEIGHT * 2, "each to its own scale", colors.muted, size=10)
            y = top + 12 + _LINE_HEIGHT * 3 - 4
            canvas.text(_MARGIN, y, "spread", colors.muted, size=12)
            if trace.spread:
                canvas.text(right, y, f"±{trace.spread[-1]:.2f}", colors.muted, size=12, anchor="right")
        if len(places) < 2:
            return
        if self.learned:
            learned, spread = np.array(trace.learned), np.array(trace.spread)
            low, high = _range(np.concatenate([learned - spread, learned + spread]))
            shown = slice(-len(places), None)
            over = _heights(top, (learned + spread)[shown], low, high)
            under = _heights(top, (learned - spread)[shown], low, high)
            outline = [*zip(places, over, strict=True), *zip(places[::-1], under[::-1], strict=True)]
            canvas.polygon(outline, _between(colors.background, colors.accent, 0.25))
            line = _heights(top, learned[shown], low, high)
            canvas.polyline(list(zip(places, line, strict=True)), colors.accent, 2)
        # The true reward has a scale of its own: only how it rises and falls can be compared.
        true = np.array(trace.true)
        heights = _heights(top, true[-len(places) :], *_range(true))
        canvas.polyline(list(zip(places, heights, strict=True)), colors.muted, 1)

    def _draw_strip(
        self, canvas: Canvas, y: float, places: Floats, name: str, values: list[float], largest: float
    ) -> None:
        colors = canvas.colors
        left, right = _LABELS, canvas.width / canvas.scale - _VALUES - _MARGIN
        middle = y + _ROW_HEIGHT / 2 - 1
        words = name.replace("_", " ")
        small = name in self.causes
        longest = _SMALL_LABEL if small else _LONGEST_LABEL
        label = shorten(words, longest, placeholder=" …") if " " in words else words[:longest]
        canvas.text(_MARGIN, middle, label, colors.ink, size=10 if small else 12)
        canvas.rectangle(left, y, right - left, _ROW_HEIGHT - 3, colors.background)
        if not len(places) or not values:
            return
        canvas.text(right + _VALUES, middle, _signed(values[-1]), colors.muted, size=12, anchor="right")
        step = (right - left) / self.horizon
        for place, value in zip(places, values[-len(places) :], strict=True):
            if value:
                tint = colors.good if value > 0 else colors.bad
                # The square root lets small contributions be seen beside large ones.
                shade = _between(colors.background, tint, sqrt(abs(value) / largest))
                canvas.rectangle(place - step / 2, y, step, _ROW_HEIGHT - 3, shade)


def transitions_of(transition: Transition) -> Transitions:
    """A step of N copies as a reward function takes it."""
    result = transition.result
    return Transitions(transition.observations, transition.actions, result.observations, result.done, result.terminated)


def _signed(value: float) -> str:
    return f"{value:+.2f}" if abs(value) >= 0.005 else "0.00"


def _range(values: Floats) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    room = max(high - low, _SMALLEST_RANGE) * 0.08
    return low - room, high + room


def _heights(top: float, values: Floats, low: float, high: float) -> Floats:
    return top + _GRAPH_HEIGHT * (high - values) / (high - low)


def _between(start: Color, end: Color, share: float) -> Color:
    """A colour on the way from one to another, in 16 steps, so that few different ones are ever needed."""
    return blend(end, start, round(min(max(share, 0.0), 1.0) * 16) / 16)
