"""How fast the environments step and draw, with Gymnasium's CartPole measured alternately on the same core.

`Versions` compares them with those of another version of this package.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from rlhf_envs.envs.registration import ENVIRONMENTS, is_native
from rlhf_envs.testing.speed import Timer, frame_timer, step_timer
from scripts.benchmarks import NOTHING, Log, markdown_table, require_positive

_ROOT = Path(__file__).parents[2]
PEER = "CartPole-v1"
"""Gymnasium's environment with a vector version of its own, the measure of speed that most readers know."""


@dataclass(frozen=True)
class Environments:
    """Time steps and frames of the suite's environments and of Gymnasium's CartPole.

    All are measured in turn, again and again, so that other load on the machine affects all of them alike.

    Attributes:
        env: the environments, of the suite.
        widths: numbers of copies in a vector environment.
        repeats: measurements of each.
        seconds: about how long one measurement of steps takes.
        frames: drawn in one measurement of frames.
    """

    name: ClassVar[str] = "environments"
    env: tuple[str, ...] = tuple(ENVIRONMENTS)
    widths: tuple[int, ...] = (64, 1024)
    repeats: int = 9
    seconds: float = 0.4
    frames: int = 1000

    def __post_init__(self) -> None:
        require_positive(self, "repeats", "frames")
        if min(self.widths, default=0) < 1:
            raise ValueError(f"widths must be numbers of at least 1, not {self.widths}.")
        if self.seconds <= 0:
            raise ValueError(f"seconds must be above 0, not {self.seconds}.")

    def measure(self, out: Path, log: Log) -> dict[str, Any]:
        """Steps and frames per second of every repeat, and how many cores were busy meanwhile.

        Raises:
            ValueError: if an environment is not one of the suite; before any work is done.
        """
        for environment_id in self.env:
            if not is_native(environment_id):
                raise ValueError(f"{environment_id} is not one of the suite: {', '.join(ENVIRONMENTS)}.")
        torch.set_num_threads(1)
        ids = dict.fromkeys((*self.env, PEER))
        stepping = []
        for width in dict.fromkeys(self.widths):
            log(f"steps of {width:,} copies, {self.repeats} times each")
            steppers = [step_timer(environment_id, width, self.seconds) for environment_id in ids]
            stepping += _in_turn(steppers, self.repeats)
        log(f"{self.frames:,} frames, {self.repeats} times each")
        drawing = _in_turn([frame_timer(environment_id, self.frames) for environment_id in ids], self.repeats)
        return {"stepping": stepping, "drawing": drawing}

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """Two tables: steps, and frames."""
        stepping = [
            {
                "environment": _label(each),
                "copies": f"{each['copies']:,}",
                **_rates(each["rates"]),
                "busy cores": f"{np.median(each['busy_cores']):.2f}",
            }
            for each in measured["stepping"]
        ]
        drawing = [
            {
                "environment": _label(each),
                **_rates(each["rates"]),
                "median with the step": f"{np.median(each['rates_with_step']):,.0f}",
            }
            for each in measured["drawing"]
        ]
        return (
            f"Environment steps per second:\n\n{markdown_table(stepping)}\n\n"
            f"Frames of 600 × 400 pixels per second, of one copy:\n\n{markdown_table(drawing)}"
        )


_TIMING = """
import json, sys, time
import gymnasium as gym, numpy as np, rlhf_envs
rlhf_envs.register_environments()
names, copies, seconds, frames = json.loads(sys.argv[1])
def rate(env, count, rounds, draw):
    env.reset(seed=0); env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(64)]
    def run(rounds):
        spent = 0.0
        for number in range(rounds):
            started = time.process_time()
            ended = env.step(actions[number % 64])[3]
            if draw:
                started = time.process_time()
                env.render()
            spent += time.process_time() - started
            if draw and ended:
                env.reset()
        return spent
    spent = run(50)
    rounds = rounds or max(int(seconds * 50 / max(spent, 1e-6)), 1)
    rate = rounds * count / run(rounds)
    env.close()
    return rate
found = {}
for name in names:
    ids = [id for id in gym.registry if id.startswith("rlhf/" + name + "-v")]
    for id in ids[-1:]:
        many = gym.make_vec(id, num_envs=copies, vectorization_mode="vector_entry_point")
        one = gym.make(id, render_mode="rgb_array", disable_env_checker=True)
        found[name] = {"id": id, "steps": rate(many, copies, 0, False), "frames": rate(one, 1, frames, True)}
print(json.dumps(found))
"""
"""Is run by both versions, each in a process of its own, so it asks for nothing but Gymnasium's interface."""


@dataclass(frozen=True)
class Versions:
    """Time steps and frames of the suite beside those of another version of this package, in processor time.

    The two take turns, repeat by repeat, each in a process of its own, so that both are measured on the same machine at
    the same time; processor time is the same whatever else the machine does, up to what caches are shared.

    Attributes:
        other: a checkout of the other version, such as `git worktree add` makes.
        env: the environments; what the other version does not have is left out there.
        copies: in the vector environment whose steps are timed.
        repeats: measurements of each.
        seconds: about how long one measurement of steps takes.
        frames: drawn in one measurement of frames.
    """

    name: ClassVar[str] = "versions"
    other: str = ""
    env: tuple[str, ...] = tuple(ENVIRONMENTS)
    copies: int = 1024
    repeats: int = 5
    seconds: float = 0.3
    frames: int = 500

    def __post_init__(self) -> None:
        require_positive(self, "copies", "repeats", "frames")
        if self.seconds <= 0:
            raise ValueError(f"seconds must be above 0, not {self.seconds}.")

    def measure(self, out: Path, log: Log) -> dict[str, Any]:
        """Steps and frames per second of processor time, of every repeat.

        Raises:
            ValueError: if there is no other version in that folder, an environment is not one of the suite, or a
                version cannot be run.
        """
        if not (Path(self.other) / "rlhf_envs" / "__init__.py").is_file() or not self.other:
            raise ValueError(f"Say where a checkout of the other version is: --other {self.other!r} has no rlhf_envs.")
        for environment_id in self.env:
            if not is_native(environment_id):
                raise ValueError(f"{environment_id} is not one of the suite: {', '.join(ENVIRONMENTS)}.")
        names = [id.partition("/")[2].rpartition("-")[0] for id in dict.fromkeys(self.env)]
        asked = json.dumps([names, self.copies, self.seconds, self.frames])
        repeats: dict[str, list[dict[str, Any]]] = {"now": [], "other": []}
        for number in range(self.repeats):
            log(f"repeat {number + 1} of {self.repeats}")
            for which, folder in (("other", Path(self.other)), ("now", _ROOT)):
                repeats[which].append(_timed(folder, asked))
        return {"copies": self.copies, **repeats}

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """A row for each environment: the best repeat of the other version, of this one, and their ratio."""
        rows = []
        for name, newest in measured["now"][0].items():
            row = {"environment": f"`{newest['id']}`"}
            for what in ("steps", "frames"):
                now = max(repeat[name][what] for repeat in measured["now"])
                before = max((repeat[name][what] for repeat in measured["other"] if name in repeat), default=None)
                row |= {
                    f"{what}, before": NOTHING if before is None else f"{before:,.0f}",
                    f"{what}, now": f"{now:,.0f}",
                    f"{what}, ratio": NOTHING if before is None else f"{now / before:.2f}",
                }
            rows.append(row)
        return (
            f"Per second of processor time, the best of {len(measured['now'])} repeats; steps with "
            f"{measured['copies']:,} copies, frames of 600 × 400 pixels of one:\n\n{markdown_table(rows)}"
        )


def _timed(folder: Path, asked: str) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(folder.resolve()), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _TIMING, asked], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ValueError(f"The version in {folder} cannot be timed: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _in_turn(timers: list[Timer], repeats: int) -> list[dict[str, Any]]:
    for _ in range(repeats):
        for timer in timers:
            timer.repeat()
    for timer in timers:
        timer.close()
    return [asdict(timer.measured) for timer in timers]


def _label(measured: dict[str, Any]) -> str:
    return "Gymnasium's `CartPole-v1`" if measured["env"] == PEER else f"`{measured['env']}`"


def _rates(rates: list[float]) -> dict[str, str]:
    return {"median": f"{np.median(rates):,.0f}", "best": f"{max(rates):,.0f}", "worst": f"{min(rates):,.0f}"}
