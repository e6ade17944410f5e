"""Says what becomes of episodes that end early, once one has; where none ever does, nobody need know."""

from __future__ import annotations

from collections.abc import Callable

from stable_baselines3.common.callbacks import BaseCallback

from rlhf_envs.environment import EnvironmentRef


class EarlyEndsCallback(BaseCallback):
    """Tells once, when the first episode has ended early and goes on to the fixed length of all episodes.

    Args:
        environment: how it goes on. With "leak" it does not, and nothing is told.
        tell: gets the sentence.
    """

    def __init__(self, environment: EnvironmentRef, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._sentence = environment.about_episodes()
        self._tell = tell
        self._told = False

    def _on_step(self) -> bool:
        if not self._told and any(info.get("absorbed") or info.get("restarted") for info in self.locals["infos"]):
            self._told = True
            self._tell(f"{self._sentence} To change that, give --horizon or --on-termination.")
        return True
