"""Environments of other people, as small as they can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Walk(gym.Env[Any, Any]):
    """A walk on a line that pays for being to the right and ends at its left end.

    Args:
        kind: of observations: "vector", "dict" or "image".
        broken_at: the step, counted over all episodes, whose reward is NaN; None for never.
        mended: a file; once it is there, no reward is NaN any more.
        render_mode: "rgb_array" for a picture of 72 by 36 pixels whose bright column is the place.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 12}

    def __init__(
        self,
        kind: str = "vector",
        broken_at: int | None = None,
        mended: str | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = render_mode
        place = spaces.Box(-10, 10, (1,), np.float32)
        image = spaces.Box(0, 255, (36, 36, 1), np.uint8)
        self.observation_space = {
            "vector": place,
            "dict": spaces.Dict({"place": place, "side": spaces.Discrete(2)}),
            "image": image,
        }[kind]
        self.action_space = spaces.Discrete(2)
        self.kind, self.broken_at, self.mended = kind, broken_at, mended
        self.place, self.steps = 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = int(self.np_random.integers(-3, 4))
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.place = min(self.place + 2 * int(action) - 1, 10)
        self.steps += 1
        broken = self.steps == self.broken_at and not (self.mended and Path(self.mended).exists())
        reward = float("nan") if broken else self.place / 10
        return self._observation(), reward, self.place <= -10, False, {}

    def render(self) -> Any:
        picture = np.zeros((36, 72, 3), np.uint8)
        picture[:, 3 * (self.place + 10)] = 255
        return picture

    def _observation(self) -> Any:
        place = np.array([self.place], np.float32)
        if self.kind == "dict":
            return {"place": place, "side": int(self.place > 0)}
        if self.kind == "image":
            image = np.zeros((36, 36, 1), np.uint8)
            image[:, 3 * (self.place + 10) // 2] = 255
            return image
        return place


def image_grid(**kwargs: Any) -> gym.Env[Any, Any]:
    """A Minigrid whose observations are pictures."""
    import minigrid  # registers its ids
    from minigrid.wrappers import ImgObsWrapper, RGBImgPartialObsWrapper

    assert minigrid
    return ImgObsWrapper(RGBImgPartialObsWrapper(gym.make("MiniGrid-Empty-5x5-v0", **kwargs)))


def register() -> None:
    """Register the walk with a limit of steps (`test/Walk-v0`) and without (`test/Endless-v0`)."""
    for name, limit in (("test/Walk-v0", 30), ("test/Endless-v0", None)):
        if name not in gym.registry:
            gym.register(name, entry_point="tests.sb3.environments:Walk", max_episode_steps=limit)
    if "test/ImageGrid-v0" not in gym.registry:
        gym.register("test/ImageGrid-v0", entry_point=image_grid, max_episode_steps=40)


register()
