"""The Gymnasium environment: one copy of a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.rendering import FRAME_SIZE, RENDER_MODES, Painter, Window
from rlhf_envs.envs.simulation import OBJECTIVES, Simulation
from rlhf_envs.envs.task import Task


def check_view_arguments(objective: str, render_mode: str | None) -> None:
    """Refuse an unknown objective or render mode, in one sentence.

    Raises:
        ValueError: if either is not known.
    """
    if objective not in OBJECTIVES:
        raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)}, not {objective!r}.")
    if render_mode is not None and render_mode not in RENDER_MODES:
        raise ValueError(f"render_mode must be one of {', '.join(RENDER_MODES)} or None, not {render_mode!r}.")


class TaskEnv(gym.Env[Any, Any]):
    """A task as `gymnasium.make` gives it; a subclass names the task and nothing else.

    Args:
        render_mode: None, "human" or "rgb_array".
        objective: "true" pays what people really want, "proxy" what a hasty engineer would have coded.
        frame_size: (width, height) of a frame in pixels.
        theme: "light" or "dark".
        **parameters: the task's own arguments.
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": 15}
    task_class: ClassVar[type[Task]]

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        cls.__doc__ = cls.task_class.__doc__
        cls.metadata = {**TaskEnv.metadata, "render_fps": cls.task_class.render_fps}

    def __init__(
        self,
        render_mode: str | None = None,
        objective: str = "true",
        frame_size: Sequence[int] = FRAME_SIZE,
        theme: str = "light",
        **parameters: Any,
    ) -> None:
        check_view_arguments(objective, render_mode)
        self.task = self.task_class(**parameters)
        self.simulation = Simulation(self.task, 1, auto_reset=False)
        self.observation_space = self.task.observation_space
        self.action_space = self.task.action_space
        self.render_mode = render_mode
        self.objective = objective
        self.painter = Painter(self.task, (frame_size[0], frame_size[1]), theme)
        self._window: Window | None = None
        self._seeded = False

    @property
    def horizon(self) -> int:
        """Steps in an episode."""
        return self.task.horizon

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode. A seed restarts the random stream; without one the stream goes on."""
        super().reset(seed=seed)
        if seed is None and not self._seeded:
            seed = int(self.np_random.integers(2**62))
        if seed is not None:
            self.simulation.seed(np.array([seed], dtype=np.uint64))
            self._seeded = True
        self.simulation.begin()
        if self.render_mode == "human":
            self.render()
        return self.simulation.observe()[0], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Act for one step. `info` has true_reward, proxy_reward and reward_terms."""
        if not self._seeded:
            raise gym.error.ResetNeeded("Call reset() before the first step().")
        step = self.simulation.step(np.asarray(action)[None])
        true, proxy = float(step.true_rewards[0]), float(step.proxy_rewards[0])
        terms = dict(zip(self.task.reward_weights, step.terms[:, 0].tolist(), strict=True))
        info = {"true_reward": true, "proxy_reward": proxy, "reward_terms": terms}
        if self.render_mode == "human":
            self.render()
        reward = true if self.objective == "true" else proxy
        return step.observations[0], reward, False, bool(step.truncated[0]), info

    def render(self) -> NDArray[np.uint8] | None:
        """The current state as a frame (height, width, 3) uint8, or on screen in "human" mode."""
        if self.render_mode == "human":
            if self._window is None:
                name = self.spec.id if self.spec else type(self).__name__
                self._window = Window(name, self.painter.frame_size, self.metadata["render_fps"])
            self._window.show(self.painter.surface(self.simulation.state))
            return None
        if self.render_mode == "rgb_array":
            return self.painter.frame(self.simulation.state)
        gym.logger.warn("render() shows nothing without a render mode; pass render_mode='rgb_array' or 'human'.")
        return None

    def close(self) -> None:
        """Close the window if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_window": None}

    def snapshot(self) -> NDArray[np.uint8]:
        """The whole state, random stream included, (bytes,) uint8."""
        return self.simulation.snapshot()[0]

    def restore(self, snapshot: NDArray[np.uint8]) -> None:
        """Put back what `snapshot` gave.

        Raises:
            ValueError: if it was taken from another environment.
        """
        self.simulation.restore(np.asarray(snapshot)[None])
        self._seeded = True

    def expert_action(self) -> Any:
        """What a scripted policy that does well on the true reward does now."""
        return self.task.expert_action(self.simulation.state)[0]

    def proxy_action(self) -> Any:
        """What a scripted policy that games the proxy reward does now."""
        return self.task.proxy_action(self.simulation.state)[0]

    def get_keys_to_action(self) -> dict[tuple[str, ...], Any]:
        """Keyboard control, for `gymnasium.utils.play` and for demonstrations."""
        return self.task.get_keys_to_action()
