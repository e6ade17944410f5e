"""The Gymnasium vector environment: N copies of a task, advanced together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from rlhf_envs.envs.rendering import FRAME_SIZE, RENDER_MODES, Painter, WallPainter, Window
from rlhf_envs.envs.scalar import check_view_arguments
from rlhf_envs.envs.simulation import Simulation, Step
from rlhf_envs.envs.task import Task


class TaskVectorEnv(gym.vector.VectorEnv[Any, Any, Any]):
    """A task as `gymnasium.make_vec` gives it; a subclass names the task and nothing else.

    Row i, reset with seed s, equals the scalar environment reset with seed s + i, step for step. An episode that ends
    begins anew within the same step (SAME_STEP); its last observation is in `info["final_obs"]`.

    Args:
        num_envs: how many copies.
        max_episode_steps: shortens episodes below the task's horizon.
        render_mode, objective, frame_size, theme: as in the scalar environment. "rgb_array" gives one frame per copy,
            "human" shows the first copies as tiles.
        **parameters: the task's own arguments.
    """

    metadata: dict[str, Any] = {
        "render_modes": list(RENDER_MODES),
        "render_fps": 15,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }
    task_class: ClassVar[type[Task]]

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        cls.__doc__ = cls.task_class.__doc__
        cls.metadata = {**TaskVectorEnv.metadata, "render_fps": cls.task_class.render_fps}

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        objective: str = "true",
        frame_size: Sequence[int] = FRAME_SIZE,
        theme: str = "light",
        **parameters: Any,
    ) -> None:
        check_view_arguments(objective, render_mode)
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, not {num_envs}.")
        self.task = self.task_class(**parameters)
        if max_episode_steps is not None:
            self.task.horizon = min(self.task.horizon, max_episode_steps)
        self.num_envs = num_envs
        self.simulation = Simulation(self.task, num_envs, auto_reset=True)
        self.single_observation_space = self.task.observation_space
        self.single_action_space = self.task.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.render_mode = render_mode
        self.objective = objective
        self.painter = Painter(self.task, (frame_size[0], frame_size[1]), theme)
        self._wall: WallPainter | None = None
        self._window: Window | None = None
        self._seeded = False
        self._all = np.ones(num_envs, dtype=np.bool_)

    @property
    def horizon(self) -> int:
        """Steps in an episode."""
        return self.task.horizon

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in every copy.

        Args:
            seed: row i gets seed + i; or one seed per row. Without a seed the random streams go on.
            options: "reset_mask", (N,) bool, resets and seeds only some rows; "stagger": True spreads the clocks of
                the copies over the horizon, so that a batch of rollouts holds every phase of an episode.

        Raises:
            ValueError: if the number of seeds or the mask does not fit.
        """
        options = options or {}
        rows = self._masked_rows(options.get("reset_mask"))
        super().reset(seed=seed if isinstance(seed, int) else None)
        if seed is None and not self._seeded:
            seed = int(self.np_random.integers(2**62))
        # Rows that go on with their episode go on with their random stream too.
        seeded = rows if self._seeded else None
        if isinstance(seed, int | np.integer):
            seeds = np.arange(self.num_envs, dtype=np.uint64) + np.uint64(seed)
            self.simulation.seed(seeds if seeded is None else seeds[seeded], seeded)
        elif seed is not None:
            self._seed_rows(seed, seeded)
        self._seeded = True
        self.simulation.begin(rows)
        if options.get("stagger"):
            self.simulation.stagger(rows)
        return self.simulation.observe(), {}

    def step(self, actions: Any) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Act for one step in every copy. `info` has true_reward, proxy_reward and reward_terms, each (N,)."""
        if not self._seeded:
            raise gym.error.ResetNeeded("Call reset() before the first step().")
        step = self.simulation.step(actions)
        rewards = step.true_rewards if self.objective == "true" else step.proxy_rewards
        if self.render_mode == "human":
            self.render()
        terminated = np.zeros(self.num_envs, dtype=np.bool_)
        return step.observations, rewards, terminated, step.truncated, self._information(step)

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """A frame (height, width, 3) uint8 for each copy; in "human" mode the first copies as tiles on screen."""
        if self.render_mode == "rgb_array":
            return tuple(self.painter.frame(self.simulation.state, row) for row in range(self.num_envs))
        if self.render_mode == "human":
            if self._wall is None or self._window is None:
                self._wall = WallPainter(self.task, self.num_envs, self.painter.frame_size, self.painter.theme)
                name = self.spec.id if self.spec else type(self).__name__
                self._window = Window(f"{name} x {self.num_envs}", self._wall.size, self.metadata["render_fps"])
            self._window.show(self._wall.surface(self.simulation.state))
            return None
        gym.logger.warn("render() shows nothing without a render mode; pass render_mode='rgb_array' or 'human'.")
        return None

    def close_extras(self, **arguments: Any) -> None:
        """Close the window if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_window": None, "_wall": None}

    def snapshot(self) -> NDArray[np.uint8]:
        """The whole state of every copy, random streams included, (N, bytes) uint8."""
        return self.simulation.snapshot()

    def restore(self, snapshots: NDArray[np.uint8]) -> None:
        """Put back what `snapshot` gave.

        Raises:
            ValueError: if it was taken from another environment or another number of copies.
        """
        self.simulation.restore(snapshots)
        self._seeded = True

    def expert_action(self) -> NDArray[Any]:
        """What a scripted policy that does well on the true reward does now, (N, *act)."""
        return self.task.expert_action(self.simulation.state)

    def proxy_action(self) -> NDArray[Any]:
        """What a scripted policy that games the proxy reward does now, (N, *act)."""
        return self.task.proxy_action(self.simulation.state)

    def _information(self, step: Step) -> dict[str, Any]:
        terms: dict[str, Any] = {}
        for name, values in zip(self.task.reward_weights, step.terms, strict=True):
            terms[name] = values
            terms["_" + name] = self._all
        info: dict[str, Any] = {
            "true_reward": step.true_rewards,
            "_true_reward": self._all,
            "proxy_reward": step.proxy_rewards,
            "_proxy_reward": self._all,
            "reward_terms": terms,
            "_reward_terms": self._all,
        }
        if len(step.ended):
            final = np.full(self.num_envs, None, dtype=object)
            for row, observation in zip(step.ended, step.final_observations, strict=True):
                final[row] = observation
            info["final_info"] = dict(info)
            info["_final_info"] = step.truncated.copy()
            info["final_obs"] = final
            info["_final_obs"] = step.truncated.copy()
        return info

    def _seed_rows(self, seeds: Sequence[int | None], among: NDArray[np.intp] | None) -> None:
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds were given for {self.num_envs} copies; give one each, or one number.")
        candidates = range(self.num_envs) if among is None else among
        rows = np.array([row for row in candidates if seeds[row] is not None or not self._seeded], dtype=np.intp)
        known = [seeds[row] for row in rows]
        chosen = [int(self.np_random.integers(2**62)) if seed is None else int(seed) for seed in known]
        if len(rows):
            self.simulation.seed(np.array(chosen, dtype=np.uint64), rows)

    def _masked_rows(self, mask: Any) -> NDArray[np.intp] | None:
        if mask is None:
            return None
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_:
            raise ValueError(
                f"reset_mask must be a bool array of shape ({self.num_envs},), not {mask.dtype} {mask.shape}."
            )
        return np.flatnonzero(mask)
