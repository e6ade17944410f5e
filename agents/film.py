"""Films a policy, with what it earns step by step drawn below the picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pygame
from gymnasium import Env
from numpy.typing import NDArray

from agents.copies import FIRST_SEED, Moment, SeparateCopies, play
from agents.policies import AnyPolicy, bound
from agents.strip_chart import StripChart, Trace
from rlhf_envs.clips import encode_mp4, letterbox
from rlhf_envs.envs.canvas import Canvas
from rlhf_envs.envs.palette import THEMES
from rlhf_envs.envs.rendering import FRAME_SIZE
from rlhf_envs.sb3 import is_native, make_scalar_env
from rlhf_envs.wrappers import UncertainRewardFunction

_SLOWEST, _FASTEST, _USUAL = 10.0, 40.0, 15.0
_LONGEST_AXIS = 400
_HELD_SECONDS = 0.6
_FILM_RATE = 20.0


class Stage:
    """One environment, its picture, and the chart below it: plays episodes frame by frame.

    Args:
        environment_id, environment_kwargs: where to play.
        reward_model: whose reward is drawn; None draws the true reward only.
        horizon, on_termination: of a third-party environment, as in training.
        width: of the picture in pixels, its height is two thirds of that; the chart below adds to the height.
        theme: "light" or "dark".

    Attributes:
        frames_per_second: at which rate an episode looks natural, between 10 and 40.

    Raises:
        ValueError: for an unknown id or theme, or an environment that cannot be drawn.
    """

    def __init__(
        self,
        environment_id: str,
        environment_kwargs: Mapping[str, Any] | None = None,
        *,
        reward_model: UncertainRewardFunction | None = None,
        horizon: int | None = None,
        on_termination: str = "absorb",
        width: int = FRAME_SIZE[0],
        theme: str = "light",
    ) -> None:
        if theme not in THEMES:
            raise ValueError(f"theme must be one of {', '.join(THEMES)}, not {theme!r}.")
        self.picture_size = (width, round(width * FRAME_SIZE[1] / FRAME_SIZE[0]))
        self._env = _drawable(environment_id, environment_kwargs, horizon, on_termination, self.picture_size, theme)
        self.copies = SeparateCopies([self._env])
        self.theme = theme
        self._environment_id = environment_id
        self.frames_per_second = min(max(float(self._env.metadata.get("render_fps") or _USUAL), _SLOWEST), _FASTEST)
        self._reward_model = reward_model
        self._canvas: Canvas | None = None

    def frames(self, policy: AnyPolicy, seed: int = FIRST_SEED, every: int = 1) -> Iterator[NDArray[np.uint8]]:
        """Play one episode: a frame (height, width, 3) uint8 after each step, or after every so many."""
        trace = Trace()
        chart: StripChart | None = None
        for step, moment in enumerate(play(bound(policy, self.copies), self.copies, seed)):
            trace.add(*_of_first(moment), *self._learned(moment))
            if chart is None:
                chart = StripChart(self._axis_length(), list(trace.terms), self._reward_model is not None)
            if step % every == 0:
                yield self._frame(chart, trace)

    def close(self) -> None:
        """Let go of the environment."""
        # One of classic control would shut pygame down for the whole process, whatever window is open.
        if not isinstance(getattr(self._env.unwrapped, "screen", None), pygame.Surface):
            self.copies.close()

    def _learned(self, moment: Moment) -> tuple[float, float] | tuple[()]:
        if self._reward_model is None:
            return ()
        reward = self._reward_model.reward(moment.observations, moment.actions)
        return float(reward[0]), float(self._reward_model.spread(moment.observations, moment.actions)[0])

    def _axis_length(self) -> int:
        has_horizon = self._env.has_wrapper_attr("horizon")
        spec = self._env.spec
        steps = self._env.get_wrapper_attr("horizon") if has_horizon else spec and spec.max_episode_steps
        return min(int(steps or _LONGEST_AXIS), _LONGEST_AXIS)

    def _frame(self, chart: StripChart, trace: Trace) -> NDArray[np.uint8]:
        width, height = self.picture_size
        scale = width / FRAME_SIZE[0]
        if self._canvas is None:
            self._canvas = Canvas(width, height + round(chart.height * scale), self.theme)
        picture = letterbox(self._picture(), self.picture_size, THEMES[self.theme].background)
        image = pygame.image.frombuffer(picture.tobytes(), self.picture_size, "RGB")
        self._canvas.surface.blit(image, (0, 0))
        chart.draw(self._canvas, height / scale, trace)
        return self._canvas.pixels()

    def _picture(self) -> NDArray[np.uint8]:
        try:
            picture: Any = self._env.render()
        except Exception as error:
            raise RuntimeError(
                f"{self._environment_id} cannot be drawn on this machine ({type(error).__name__}: {error}); MuJoCo "
                "without a screen needs the environment variable MUJOCO_GL=egl or osmesa, and that library."
            ) from error
        return np.asarray(picture)


def film(
    policy: AnyPolicy,
    environment_id: str,
    environment_kwargs: Mapping[str, Any] | None = None,
    *,
    path: Path | None = None,
    seconds: float | None = None,
    episodes: int = 1,
    seed: int = FIRST_SEED,
    horizon: int | None = None,
    on_termination: str = "absorb",
    reward_model: UncertainRewardFunction | None = None,
    width: int = FRAME_SIZE[0],
    theme: str = "light",
) -> bytes:
    """Film a policy at the environment's own pace, as an mp4 that every browser plays.

    Of environments that take more than 20 steps a second, every second step is shown.

    Args:
        policy: who acts.
        environment_id, environment_kwargs: where.
        path: where to write the film too.
        seconds: ends the film after this time; None films whole episodes.
        episodes: how many.
        seed: episode i begins with seed + i.
        horizon, on_termination, reward_model, width, theme: see `Stage`.

    Raises:
        ValueError: as `Stage`, or if there is nothing to film.
    """
    if episodes < 1:
        raise ValueError(f"At least 1 episode must be filmed, not {episodes}.")
    if seconds is not None and seconds <= 0:
        raise ValueError(f"A film must last more than 0 seconds, not {seconds}.")
    stage = Stage(
        environment_id,
        environment_kwargs,
        reward_model=reward_model,
        horizon=horizon,
        on_termination=on_termination,
        width=width,
        theme=theme,
    )
    every = ceil(stage.frames_per_second / _FILM_RATE)
    rate = stage.frames_per_second / every
    most = None if seconds is None else max(round(seconds * rate), 1)
    played = chain.from_iterable(stage.frames(policy, seed + episode, every) for episode in range(episodes))
    try:
        frames = list(islice(played, most))
    finally:
        stage.close()
    frames += frames[-1:] * round(_HELD_SECONDS * rate)
    stacked = np.stack(frames)
    frames.clear()
    return encode_mp4(stacked, path, rate)


def _of_first(moment: Moment) -> tuple[float, dict[str, float]]:
    outcome = moment.outcome
    return float(outcome.true_rewards[0]), {name: float(values[0]) for name, values in outcome.terms.items()}


def _drawable(
    environment_id: str,
    environment_kwargs: Mapping[str, Any] | None,
    horizon: int | None,
    on_termination: str,
    picture_size: tuple[int, int],
    theme: str,
) -> Env[Any, Any]:
    kwargs = dict(environment_kwargs or {})
    kwargs.pop("render_mode", None)
    if is_native(environment_id):
        kwargs |= {"frame_size": picture_size, "theme": theme}
    env = make_scalar_env(environment_id, kwargs, horizon, on_termination, render_mode="rgb_array")
    if env.render_mode != "rgb_array":
        raise ValueError(f"{environment_id} cannot be filmed, because it does not render as 'rgb_array'.")
    return env
