"""How fast the environments step and draw, with Gymnasium's CartPole measured alternately on the same core."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from rlhf_envs.envs.registration import ENVIRONMENTS, is_native
from rlhf_envs.testing.speed import Timer, frame_timer, step_timer
from scripts.benchmarks import Log, markdown_table, require_positive

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
