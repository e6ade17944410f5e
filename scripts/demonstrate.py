"""Play an environment by keyboard or gamepad, and keep whole episodes as demonstrations."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import tyro

from rlhf_envs.cli import one_sentence_errors
from rlhf_envs.cli.flags import JSONArguments
from rlhf_envs.demonstrations import Demonstrations, Episode, append_demonstrations, load_demonstrations
from rlhf_envs.demonstrations.playing import Controls, PlayWindow
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.runs import RunDirectory

_USUAL_RATE = 15.0


@dataclass(frozen=True)
class Arguments:
    """Play an environment by keyboard or gamepad, and keep whole episodes as demonstrations.

    After each episode enter keeps it and backspace plays another one instead; escape ends, and drops the episode at
    hand. What is kept is on the disk at once. Train from it with --pretrain N --demonstrations FILE, or let it be
    preferred over what the agent does with --demonstrated N --demonstrations FILE.

    Attributes:
        env: the environment to play; the run's own where only --run-dir is given.
        run_dir: a folder that gets demonstrations.safetensors, or to which there are more of them to add.
        out: the file, where it shall be another one.
        env_kwargs: arguments of the environment, as JSON.
        horizon: steps in an episode of a third-party environment; its registered limit where None.
        episodes: stop after so many are kept; as many as you like where None.
        seed: the first episode begins with it.
        fps: steps a second; the environment's own rate where None.
        keys: which keys mean which action, as JSON such as {"left": 0, "left+up": 1}, where the environment does not
            say it itself.
        gamepad: steer a Box action by the axes of a gamepad.
        theme: light or dark.
    """

    env: str | None = None
    run_dir: Path | None = None
    out: Path | None = None
    env_kwargs: JSONArguments = field(default_factory=dict)
    horizon: int | None = None
    episodes: int | None = None
    seed: int = 0
    fps: float | None = None
    keys: JSONArguments = field(default_factory=dict)
    gamepad: bool = False
    theme: Literal["light", "dark"] = "light"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    with one_sentence_errors():
        given = tyro.cli(Arguments, args=arguments, prog="python -m scripts.demonstrate")
        environment_id, kwargs, horizon = _task(given)
        path = _path(given)
        if given.episodes is not None and given.episodes < 1:
            raise ValueError(f"episodes must be at least 1, not {given.episodes}.")
        if path.exists():
            load_demonstrations(path)
        environment = EnvironmentRef(environment_id, kwargs or {}, (), horizon)
        env = environment.make("rgb_array")
        try:
            kept = _play(given, env, environment, path)
        finally:
            env.close()
        print(
            f"{kept} episodes kept."
            + (f" In all there are {load_demonstrations(path).episodes}: {path}" if kept else "")
        )
        if kept:
            use = f"--env {environment_id} --pretrain {kept} --demonstrations {shlex.quote(str(path))}"
            print(f"To begin a training with them: python -m scripts.train {use} --run-dir ...")
    return 0


def _task(given: Arguments) -> tuple[str, Mapping[str, Any], int | None]:
    if given.env is not None:
        return given.env, given.env_kwargs, given.horizon
    if given.run_dir is None:
        raise ValueError("Say what to play: --env with an environment's id, or --run-dir with a run's folder.")
    environment = RunDirectory(given.run_dir).read_environment()
    return environment.id, environment.kwargs, environment.horizon


def _path(given: Arguments) -> Path:
    if given.out is not None:
        return given.out
    if given.run_dir is None:
        raise ValueError("Say where the demonstrations go: --run-dir with a folder, or --out with a file.")
    return RunDirectory(given.run_dir).demonstrations_path


def _play(given: Arguments, env: gym.Env[Any, Any], environment: EnvironmentRef, path: Path) -> int:
    task = getattr(env.unwrapped, "task", None)
    controls = Controls(env, _keys(given.keys) or None, given.gamepad)
    rate = given.fps if given.fps is not None else float(env.metadata.get("render_fps") or _USUAL_RATE)
    window = PlayWindow(env, controls, rate, bool(getattr(task, "in_turns", False)), given.theme)

    def keep(episode: Episode) -> None:
        one = Demonstrations.from_episodes(environment, env.observation_space, env.action_space, [episode])
        append_demonstrations(one, path)

    try:
        return window.record(given.seed, given.episodes, keep)
    finally:
        window.close()


def _keys(spoken: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    return {tuple(part.strip() for part in keys.split("+")): action for keys, action in spoken.items()}


if __name__ == "__main__":
    sys.exit(main())
