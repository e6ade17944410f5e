"""An objective of your own: what is assumed of the people whose answers teach the reward.

On the command line: `python -m scripts.train --env Pendulum-v1 --ensemble.objective objective:Cauchit`, with this
file's folder in PYTHONPATH.
"""

import math

import torch
from stable_baselines3 import PPO
from torch import Tensor

from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.rewards import OBJECTIVES, EnsembleConfig, Objective
from rlhf_envs.sb3 import PreferenceCallback, make_vec_env


class Cauchit(Objective):
    """The Cauchy distribution function as link: heavy tails forgive answers that contradict a large difference."""

    def choice_probability(self, difference: Tensor) -> Tensor:
        """0.5 at 0, 0.75 at 1, and never quite sure."""
        return 0.5 + torch.atan(difference) / math.pi


def main() -> None:
    """Train with it; losses, held-out predictions and query selection all follow from the probability."""
    torch.set_num_threads(1)
    OBJECTIVES.register("cauchit", Cauchit())
    env = make_vec_env("Pendulum-v1", num_envs=8)
    feedback = PreferenceCallback(
        env, "feedback.db", FeedbackConfig(answers=30), ensemble=EnsembleConfig(objective="cauchit")
    )
    model = PPO("MlpPolicy", env, n_steps=128, batch_size=128, n_epochs=2, device="cpu", seed=0)
    model.learn(4096, callback=feedback)
    print(f"{feedback.loop.progress.test_accuracy:.0%} of the answers predicted out of fold.")


if __name__ == "__main__":
    main()
