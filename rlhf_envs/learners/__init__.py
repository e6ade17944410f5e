"""Learners: algorithms of Stable-Baselines3 with their settings, as a training run builds, saves and restores them.

`LEARNERS` names them; the settings of those here are in the modules `on_policy` and `off_policy`. One of your own is a
class with a `build` method, see `Learner`; on the command line it is given as `--learner module:Class`.
"""

from rlhf_envs.learners import off_policy, on_policy
from rlhf_envs.learners.learner import LEARNERS, Learner, find_learner

for _learner in (
    *(on_policy.PPOLearner(), on_policy.A2CLearner()),
    *(off_policy.SACLearner(), off_policy.TD3Learner(), off_policy.DQNLearner(), off_policy.TQCLearner()),
    *(on_policy.RecurrentPPOLearner(), on_policy.MaskablePPOLearner()),
):
    LEARNERS.register(_learner.name, _learner)

__all__ = ["LEARNERS", "Learner", "find_learner"]
