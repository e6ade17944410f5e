"""Ends a run before its timesteps are used up, because it has converged."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from agents.progress import ProgressCallback
from rlhf_envs.sb3 import PreferenceCallback, ScoringCallback


class Converged(Exception):
    """Training has come to its end before its timesteps were used up."""


@dataclass
class _Standing:
    """What a checkpoint keeps: the best learned return (None before there is one), and the rollouts since."""

    best: float | None = None
    waited: int = 0
    converged: bool = False


class ConvergenceCallback(BaseCallback):
    """Stops training once all labels are in and the learned return has not risen for some rollouts.

    The rollout that decides is still learned from. When the next one would begin, `Converged` leaves
    Stable-Baselines3's loop, which by itself could only be stopped a step into that rollout.

    Args:
        scoring, progress: the run's other callbacks, which must come before this one.
        patience: that many rollouts; None never stops.
        standing: what `standing` said at the checkpoint that the run goes on from.
    """

    def __init__(
        self,
        scoring: ScoringCallback,
        progress: ProgressCallback,
        patience: int | None,
        standing: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self._scoring, self._progress, self._patience = scoring, progress, patience
        self._standing = _Standing(**(standing or {}))

    @property
    def converged(self) -> bool:
        """Whether training is to end."""
        return self._standing.converged

    @property
    def standing(self) -> dict[str, Any]:
        """How near to convergence the run is, as JSON values for a checkpoint."""
        return asdict(self._standing)

    def _on_rollout_start(self) -> None:
        if self.converged:
            raise Converged

    def _on_rollout_end(self) -> None:
        standing, learned_return = self._standing, self._progress.learned_return
        if isinstance(self._scoring, PreferenceCallback) and not self._scoring.loop.finished_asking:
            # A reward that is still being learned has no return that could be compared with an earlier one.
            standing.best, standing.waited = None, 0
            return
        if standing.best is None or learned_return > standing.best:
            standing.best, standing.waited = learned_return, 0
        else:
            standing.waited += 1
        standing.converged = self._patience is not None and standing.waited >= self._patience

    def _on_step(self) -> bool:
        return True
