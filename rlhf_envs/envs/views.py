"""The two Gymnasium views of a task: `TaskEnv` (`gymnasium.make`) and `TaskVectorEnv` (`gymnasium.make_vec`)."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from rlhf_envs.envs.rendering import FRAME_SIZE, RENDER_MODES, Painter, Window
from rlhf_envs.envs.simulation import OBJECTIVES, Simulation, Step
from rlhf_envs.envs.task import Task
from rlhf_envs.registry import import_object


class _TaskView:
    """What the two views share: how they are made, drawn, restored and pickled, and the scripted policies.

    Attributes:
        task: the rules.
        simulation: runs them.
        painter: draws single copies.
        objective: "true" or "proxy".
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": 15}
    _batched: ClassVar[bool]
    spec: gym.envs.registration.EnvSpec | None
    render_mode: str | None

    def __init__(
        self,
        task_class: type[Task] | str,
        copies: int,
        max_episode_steps: int | None,
        auto_reset: bool,
        render_mode: str | None = None,
        objective: str = "true",
        frame_size: Sequence[int] = FRAME_SIZE,
        theme: str = "light",
        **parameters: Any,
    ) -> None:
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise ValueError(f"render_mode must be one of {', '.join(RENDER_MODES)} or None, not {render_mode!r}.")
        if objective not in OBJECTIVES:
            raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)}, not {objective!r}.")
        self.task = task = _made(load_task(task_class), parameters)
        if max_episode_steps is not None:
            task.horizon = min(task.horizon, max_episode_steps)
        self.simulation = Simulation(task, copies, auto_reset)
        if objective == "proxy" and not self.simulation.has_proxy():
            raise ValueError(
                f"{type(task).__name__} has no proxy reward, so objective must be 'true'; its `advance` would have to "
                "return the proxy reward with the terms."
            )
        self.__doc__ = type(task).__doc__
        self.metadata = {**self.metadata, "render_fps": task.render_fps}
        self.render_mode = render_mode
        self.objective = objective
        self.painter = Painter(task, frame_size, theme)
        self._window: Window | None = None
        self._seeded = False

    @property
    def horizon(self) -> int:
        """Steps in an episode."""
        return self.task.horizon

    def _step(self, actions: Any, anew: NDArray[np.intp] | None = None) -> tuple[Step, NDArray[np.float32]]:
        if not self._seeded:
            raise gym.error.ResetNeeded("Call reset() before the first step().")
        step = self.simulation.step(actions, anew)
        if self.render_mode == "human":
            self._show()
        if self.objective == "true" or step.proxy_rewards is None:
            return step, step.true_rewards
        return step, step.proxy_rewards

    def _frames(self) -> tuple[NDArray[np.uint8], ...] | None:
        """One frame per copy, or None where they are shown on screen or not wanted."""
        if self.render_mode == "rgb_array":
            return tuple(self.painter.frame(self.simulation.state, row) for row in range(self.simulation.copies))
        if self.render_mode == "human":
            self._show()
        else:
            gym.logger.warn("render() shows nothing without a render mode; pass render_mode='rgb_array' or 'human'.")
        return None

    def _show(self) -> None:
        """Show the first copies as tiles of one window."""
        if self._window is None:
            copies, name = self.simulation.copies, self.spec.id if self.spec else type(self.task).__name__
            title = name if copies == 1 else f"{name} x {copies}"
            self._window = Window(self.painter, copies, title, self.task.render_fps)
        self._window.show(self.simulation.state)

    def snapshot(self) -> NDArray[np.uint8]:
        """The whole state, random streams included, uint8: (bytes,), or (N, bytes) for a vector environment."""
        snapshots: NDArray[np.uint8] = self._of_copies(self.simulation.snapshot())
        return snapshots

    def restore(self, snapshot: NDArray[np.uint8]) -> None:
        """Restore what `snapshot` returned.

        Raises:
            ValueError: if it was taken from another environment or another number of copies.
        """
        self.simulation.restore(np.asarray(snapshot) if self._batched else np.asarray(snapshot)[None])
        self._seeded = True

    def expert_action(self) -> Any:
        """`Task.expert_action` in the current state; one action per copy for a vector environment."""
        return self._of_copies(self.task.expert_action(self.simulation.state))

    def proxy_action(self) -> Any:
        """`Task.proxy_action` in the current state; one action per copy for a vector environment."""
        return self._of_copies(self.task.proxy_action(self.simulation.state))

    def _of_copies(self, array: NDArray[Any]) -> Any:
        return array if self._batched else array[0]

    def close_extras(self, **arguments: Any) -> None:
        """Close the window if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_window": None}


class TaskEnv(_TaskView, gym.Env[Any, Any]):
    """One copy of a task, as `gymnasium.make` gives it.

    Args:
        task_class: the task, or where it is as "module:Class".
        render_mode: None, "human" or "rgb_array".
        objective: "true" pays what people really want, "proxy" what a hasty engineer would have coded.
        frame_size: (width, height) of a frame in pixels.
        theme: "light" or "dark".
        **parameters: the task's own arguments.
    """

    _batched = False

    def __init__(self, task_class: type[Task] | str, **options: Any) -> None:
        super().__init__(task_class, 1, None, False, **options)
        self.observation_space, self.action_space = self.task.observation_space, self.task.action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode. A seed restarts the random stream; without one the stream continues."""
        super().reset(seed=seed)
        if seed is None and not self._seeded:
            seed = int(self.np_random.integers(2**62))
        if seed is not None:
            self.simulation.seed(np.array([seed], dtype=np.uint64))
            self._seeded = True
        self.simulation.begin()
        if self.render_mode == "human":
            self._show()
        return self.simulation.observe()[0], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Act for one step.

        `info` has true_reward, reward_terms and, where the task has one, proxy_reward; with the last step of an episode
        also measures, where the task declares any.
        """
        step, rewards = self._step(np.asarray(action)[None])
        terms = dict(zip(self.task.reward_weights, step.terms[:, 0].tolist(), strict=True))
        info = {"true_reward": float(step.true_rewards[0]), "reward_terms": terms}
        if step.proxy_rewards is not None:
            info["proxy_reward"] = float(step.proxy_rewards[0])
        if step.measures:
            info["measures"] = {name: float(values[0]) for name, values in step.measures.items()}
        return step.observations[0], float(rewards[0]), False, bool(step.truncated[0]), info

    def render(self) -> NDArray[np.uint8] | None:
        """The current state as a frame (height, width, 3) uint8, or on screen in "human" mode."""
        frames = self._frames()
        return None if frames is None else frames[0]

    def close(self) -> None:
        """Close the window if there is one."""
        self.close_extras()

    def get_keys_to_action(self) -> dict[tuple[str, ...], Any]:
        """Keyboard control, for `gymnasium.utils.play` and for demonstrations."""
        return self.task.get_keys_to_action()


class TaskVectorEnv(_TaskView, gym.vector.VectorEnv[Any, Any, Any]):
    """N copies of a task advanced together, as `gymnasium.make_vec` gives them.

    Row i, reset with seed s, equals the scalar environment reset with seed s + i, step for step.

    Args:
        task_class: the task, or where it is as "module:Class".
        num_envs: how many copies.
        max_episode_steps: shortens episodes below the task's horizon.
        autoreset_mode: what follows the end of an episode, as Gymnasium has it: it begins anew within the same step,
            and its last observation is in `info["final_obs"]` (SAME_STEP); or in the next step, whose action is ignored
            and whose reward is 0 (NEXT_STEP); or when `reset` is called with a "reset_mask" (DISABLED).
        render_mode, objective, frame_size, theme: as in the scalar environment. "rgb_array" gives one frame per copy,
            "human" shows the first copies as tiles.
        **parameters: the task's own arguments.
    """

    metadata: dict[str, Any] = {**_TaskView.metadata, "autoreset_mode": AutoresetMode.SAME_STEP}
    _batched = True

    def __init__(
        self,
        task_class: type[Task] | str,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        **options: Any,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, not {num_envs}.")
        try:
            mode = AutoresetMode(autoreset_mode)
        except ValueError as error:
            modes = ", ".join(repr(each.value) for each in AutoresetMode)
            raise ValueError(f"autoreset_mode must be one of {modes}, not {autoreset_mode!r}.") from error
        super().__init__(task_class, num_envs, max_episode_steps, mode is AutoresetMode.SAME_STEP, **options)
        self.metadata["autoreset_mode"] = mode
        task = self.task
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = task.observation_space, task.action_space
        self.observation_space = batch_space(task.observation_space, num_envs)
        self.action_space = batch_space(task.action_space, num_envs)
        self._all = np.ones(num_envs, dtype=np.bool_)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in every copy.

        Args:
            seed: row i gets seed + i; or one seed per row. Without a seed the random streams continue.
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
        # Rows that are not reset keep their random stream.
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
        """Act for one step in every copy.

        `info` has true_reward, reward_terms and, where the task has one, proxy_reward, each (N,); when episodes end,
        also measures, where the task declares any, which are not a number in the other rows.

        Raises:
            ResetNeeded: before the first reset; in DISABLED mode also if the episode of a copy has ended before.
            ValueError: if the actions are not those of the space.
        """
        anew = None if self.simulation.auto_reset else self._ended_rows()
        step, rewards = self._step(actions, anew)
        terminated = np.zeros(self.num_envs, dtype=np.bool_)
        return step.observations, rewards, terminated, step.truncated, self._information(step, anew)

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """A frame (height, width, 3) uint8 for each copy; in "human" mode the first copies as tiles on screen."""
        return self._frames()

    def _ended_rows(self) -> NDArray[np.intp]:
        """The rows whose episode ended in the step before, and that have not begun anew."""
        ended = np.flatnonzero(self.simulation.state.elapsed >= self.horizon)
        if len(ended) and self.metadata["autoreset_mode"] is AutoresetMode.DISABLED:
            raise gym.error.ResetNeeded(
                f"The episodes of the copies {ended.tolist()} have ended; with autoreset_mode DISABLED, begin new ones "
                'with reset(options={"reset_mask": ...}).'
            )
        return ended

    def _information(self, step: Step, anew: NDArray[np.intp] | None) -> dict[str, Any]:
        acted = self._all
        if anew is not None and len(anew):
            acted = np.ones(self.num_envs, dtype=np.bool_)
            acted[anew] = False
        terms = dict(zip(self.task.reward_weights, step.terms, strict=True))
        info = {"true_reward": step.true_rewards, "reward_terms": _with_masks(terms, acted)}
        if step.proxy_rewards is not None:
            info["proxy_reward"] = step.proxy_rewards
        info = _with_masks(info, acted)
        if step.measures:
            measured = {name: np.full(self.num_envs, np.nan) for name in step.measures}
            for name, values in step.measures.items():
                measured[name][step.ended] = values
            info |= _with_masks({"measures": _with_masks(measured, step.truncated.copy())}, step.truncated.copy())
        if len(step.ended) and self.simulation.auto_reset:
            final = np.full(self.num_envs, None, dtype=object)
            for row, observation in zip(step.ended, step.final_observations, strict=True):
                final[row] = observation
            info |= _with_masks({"final_info": dict(info), "final_obs": final}, step.truncated.copy())
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


def _with_masks(info: dict[str, Any], rows: NDArray[np.bool_]) -> dict[str, Any]:
    """An info with Gymnasium's masks in it, which say for which rows, (N,) bool, each key holds."""
    return {**info, **{f"_{name}": rows for name in info}}


_OPTIONS = ("objective", "render_mode", "frame_size", "theme")


def _made(task_class: type[Task], parameters: dict[str, Any]) -> Task:
    """A task with these arguments.

    Raises:
        TypeError: if it has no such argument; the nearest name is suggested.
        ValueError: if it refuses a value, or its `__init__` does not call that of `Task`.
    """
    try:
        task = task_class(**parameters)
    except TypeError as error:
        known = dict.fromkeys(
            name
            for each in task_class.__mro__
            if issubclass(each, Task) and "__init__" in vars(each)
            for name, parameter in list(signature(each.__init__).parameters.items())[1:]
            if parameter.kind is not Parameter.VAR_KEYWORD
        )
        unknown = next((name for name in parameters if name not in known), None)
        if unknown is None:
            raise
        near = get_close_matches(unknown, [*known, *_OPTIONS], n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join([*known, *_OPTIONS])}."
        raise TypeError(f"{task_class.__name__} has no argument {unknown}; {hint}") from error
    if not hasattr(task, "layout"):
        raise ValueError(f"{task_class.__name__}.__init__ must call super().__init__(horizon), which it does not.")
    return task


def load_task(task_class: type[Task] | str) -> type[Task]:
    """A task class as it is, or the one that "module:Class" names.

    Raises:
        ValueError: if it is no task, or cannot be imported.
    """
    found = import_object(task_class, "task") if isinstance(task_class, str) else task_class
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise ValueError(f"An environment is made of a subclass of rlhf_envs.envs.Task, not of {task_class!r}.")
    return found
