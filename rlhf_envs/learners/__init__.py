"""Learners: algorithms of Stable-Baselines3 with their settings, as a training run builds, saves and restores them.

`LEARNERS` names them. One of your own is a class with a `build` method, see `Learner`; on the command line it is given
as `--learner module:Class`.
"""

from rlhf_envs.learners.learner import LEARNERS, Learner, find_learner
from rlhf_envs.learners.off_policy import (
    DQNConfig,
    DQNLearner,
    SACConfig,
    SACLearner,
    TD3Config,
    TD3Learner,
    TQCConfig,
    TQCLearner,
)
from rlhf_envs.learners.on_policy import (
    A2CConfig,
    A2CLearner,
    MaskablePPOConfig,
    MaskablePPOLearner,
    PPOConfig,
    PPOLearner,
    RecurrentPPOConfig,
    RecurrentPPOLearner,
)

for _learner in (
    *(PPOLearner(), A2CLearner(), SACLearner(), TD3Learner(), DQNLearner()),
    *(TQCLearner(), RecurrentPPOLearner(), MaskablePPOLearner()),
):
    LEARNERS.register(_learner.name, _learner)

__all__ = [
    "LEARNERS",
    "A2CConfig",
    "A2CLearner",
    "DQNConfig",
    "DQNLearner",
    "Learner",
    "MaskablePPOConfig",
    "MaskablePPOLearner",
    "PPOConfig",
    "PPOLearner",
    "RecurrentPPOConfig",
    "RecurrentPPOLearner",
    "SACConfig",
    "SACLearner",
    "TD3Config",
    "TD3Learner",
    "TQCConfig",
    "TQCLearner",
    "find_learner",
]
