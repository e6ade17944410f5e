"""Play an environment by keyboard or gamepad, and record whole episodes as demonstrations."""

from __future__ import annotations

import shlex
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from rlhf_envs.cli import one_sentence_errors
from rlhf_envs.cli.flags import EnvironmentFlags, JSONArguments, parse
from rlhf_envs.demonstrations import Demonstrations, Episode, append_demonstrations, load_demonstrations
from rlhf_envs.demonstrations.playing import Controls, PlayWindow
from rlhf_envs.environment import EnvironmentRef, picture_rate
from rlhf_envs.runs import RunDirectory
from rlhf_envs.terminal import counted

_USUAL_RATE = 15.0


@dataclass(frozen=True)
class Arguments:
    """Play an environment by keyboard or gamepad, and record whole episodes as demonstrations.

    After each episode enter keeps it and backspace plays another one instead; escape ends, and drops the episode at
    hand. What is recorded is on the disk at once. Train from it with --pretrain N --demonstrations FILE, or let it be
    preferred over what the agent does with --demonstration-comparisons N --demonstrations FILE.

    Attributes:
        environment: the environment to play; the run's own where only --run-dir is given. On the command line these
            have no prefix.
        run_dir: a folder for demonstrations.safetensors, or to whose file more are added.
        out: the file, if another one.
        episodes: stop after so many are recorded; as many as you like where None.
        seed: the first episode begins with it.
        fps: steps a second; the environment's own rate where None.
        keys: which keys mean which action, as JSON such as {"left": 0, "left+up": 1}, where the environment does not
            define them itself.
        gamepad: steer a Box action by the axes of a gamepad.
        theme: light or dark.
    """

    environment: Annotated[EnvironmentFlags, tyro.conf.arg(name="")] = field(default_factory=EnvironmentFlags)
    run_dir: Path | None = None
    out: Path | None = None
    episodes: int | None = None
    seed: int = 0
    fps: float | None = None
    keys: JSONArguments = field(default_factory=dict)
    gamepad: bool = False
    theme: Literal["light", "dark"] = "light"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    with one_sentence_errors():
        args = parse(Arguments, arguments, prog="rlhf-envs demonstrate")
        environment, path = _environment(args), _path(args)
        if args.episodes is not None and args.episodes < 1:
            raise ValueError(f"episodes must be at least 1, not {args.episodes}.")
        if path.exists():
            load_demonstrations(path)
        recorded = _play(args, environment, path)
        print(
            f"{counted(recorded, 'episode')} recorded."
            + (f" In all there are {load_demonstrations(path).episodes}: {path}" if recorded else "")
        )
        if recorded:
            use = f"--env {environment.id} --pretrain {recorded} --demonstrations {shlex.quote(str(path))}"
            print(f"To begin a training with them: python -m scripts.train {use} --run-dir ...")
    return 0


def _environment(args: Arguments) -> EnvironmentRef:
    environment = args.environment.environment()
    if environment is not None:
        return environment
    if args.run_dir is None:
        raise ValueError("Say what to play: --env with an environment's id, or --run-dir with a run's folder.")
    return RunDirectory(args.run_dir).read_environment()


def _path(args: Arguments) -> Path:
    if args.out is not None:
        return args.out
    if args.run_dir is None:
        raise ValueError("Say where the demonstrations go: --run-dir with a folder, or --out with a file.")
    return RunDirectory(args.run_dir).demonstrations_path


def _play(args: Arguments, environment: EnvironmentRef, path: Path) -> int:
    """Record episodes until the player ends it; how many were recorded."""
    with closing(environment.make("rgb_array")) as env:
        task = getattr(env.unwrapped, "task", None)
        keys = {tuple(part.strip() for part in names.split("+")): action for names, action in args.keys.items()}
        controls = Controls(env, keys or None, args.gamepad)
        rate = args.fps if args.fps is not None else picture_rate(env) or _USUAL_RATE
        spaces = env.observation_space, env.action_space

        def keep(episode: Episode) -> None:
            one = Demonstrations.from_episodes(environment, *spaces, [episode])
            append_demonstrations(one, path)

        with closing(PlayWindow(env, controls, rate, bool(getattr(task, "in_turns", False)), args.theme)) as window:
            return window.record(args.seed, args.episodes, keep)
