"""One training of a policy, which can be stopped, killed, and gone on with from its newest checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, configure

from agents.callbacks import Converged, ConvergenceCallback, ProgressCallback, StopRequest
from agents.checkpoint import CheckpointCallback, Checkpoints
from agents.config import RunConfig
from rlhf_envs.learners import find_learner
from rlhf_envs.runs import RunDirectory
from rlhf_envs.sb3 import ScoringCallback


class ResumableTraining:
    """A training of one policy in the folder of a run: of the run's first one, or of the one that is trained after it.

    Args:
        config: of the run; its seed is that of this training.
        directory: of the run.
        model: the algorithm, untrained.
        scoring: fills in the rewards.
        progress: shows and notes how it goes.
        stop: asked for by the user.
        checkpoints: their folder.

    Attributes:
        resumed: whether it goes on from a checkpoint, once `restore` was called.
    """

    def __init__(
        self,
        config: RunConfig,
        directory: RunDirectory,
        model: BaseAlgorithm,
        scoring: ScoringCallback,
        progress: ProgressCallback,
        stop: StopRequest,
        checkpoints: Path,
    ) -> None:
        self.resumed = False
        self._config, self._model, self._stop = config, model, stop
        self._convergence = ConvergenceCallback(scoring, progress, config.run.patience)
        self._scoring, self._progress = scoring, progress
        self._checkpoints = Checkpoints(
            checkpoints,
            find_learner(config.learner),
            model,
            scoring,
            {"progress": progress, "convergence": self._convergence},
            config.seed,
            directory.read_id(),
            directory.read_config(),
        )

    def restore(self) -> bool:
        """Go on from the newest checkpoint; whether there was one.

        Raises:
            ValueError, OSError: if it is damaged or cannot be read.
        """
        self.resumed = self._checkpoints.restore()
        return self.resumed

    def run(
        self,
        tensorboard: Path,
        table: Path,
        callbacks: Sequence[BaseCallback] = (),
        writers: Sequence[KVWriter] = (),
    ) -> None:
        """Train until all steps are done or the learned return has converged, and save a last checkpoint.

        Args:
            tensorboard: folder of TensorBoard's events.
            table: progress.csv.
            callbacks: that come after scoring, progress and checkpoints.
            writers: that get what is logged besides.

        Raises:
            OSError: if a checkpoint cannot be written.
            RunInterrupted: if the run was asked to stop; it can be resumed.
        """
        model, total = self._model, self._config.timesteps
        saving = CheckpointCallback(self._checkpoints, self._config.run.checkpoint_seconds, self._stop, self.resumed)
        with ExitStack() as cleanup:
            model.set_logger(configure(str(tensorboard), ["tensorboard"]))
            model.logger.output_formats += writers
            cleanup.callback(model.logger.close)
            cleanup.enter_context(self._stop.listening())
            cleanup.enter_context(self._progress.shown(table, model.num_timesteps))
            cleanup.enter_context(suppress(Converged))
            remaining = total - model.num_timesteps
            if remaining > 0:
                every: list[BaseCallback] = [self._scoring, self._progress, self._convergence, saving, *callbacks]
                model.learn(remaining, callback=every, reset_num_timesteps=not self.resumed)
        saving.save_now()
        self._stop.check()
