"""Ends a run before its timesteps are used up, because it has converged."""

from __future__ import annotations

from stable_baselines3.common.callbacks import BaseCallback

from agents.progress import ProgressCallback
from rlhf_envs.sb3 import PreferenceCallback, ScoringCallback


class ConvergenceCallback(BaseCallback):
    """Stops training once all labels are in and the learned return has not risen for some rollouts.

    Args:
        scoring, progress: the run's other callbacks, which must come before this one.
        patience: that many rollouts.
    """

    def __init__(self, scoring: ScoringCallback, progress: ProgressCallback, patience: int) -> None:
        super().__init__()
        self._scoring, self._progress, self._patience = scoring, progress, patience
        self._best = float("-inf")
        self._waited = 0
        self.converged = False

    def _on_rollout_end(self) -> None:
        if isinstance(self._scoring, PreferenceCallback) and not self._scoring.loop.finished_asking:
            self._best, self._waited = float("-inf"), 0
            return
        self._waited += 1
        if self._progress.learned_return > self._best:
            self._best, self._waited = self._progress.learned_return, 0
        self.converged = self._waited >= self._patience

    def _on_step(self) -> bool:
        return not self.converged
