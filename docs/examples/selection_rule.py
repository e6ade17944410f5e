"""A selection rule of your own: which candidates are worth asking.

On the command line: `python -m scripts.train --env Pendulum-v1 --selection selection_rule:select_contested_and_new`,
with this file's folder in PYTHONPATH.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO

from rlhf_envs.feedback import Query
from rlhf_envs.loop import SELECTION_RULES, Candidates, FeedbackConfig
from rlhf_envs.rewards import RewardEnsemble
from rlhf_envs.sb3 import PreferenceCallback, make_vec_env


def select_contested_and_new(
    candidates: Candidates, count: int, ensemble: RewardEnsemble, asked: Sequence[Query], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Half of the queries where the members disagree most, the other half where nothing was asked so far."""
    if not ensemble.fits:
        return rng.permutation(len(candidates))[:count]
    contested = np.argsort(-candidates.preferences.var(axis=0).mean(axis=1))[: count // 2]
    seen = np.concatenate([segment.observations for query in asked for segment in query.segments])
    # The distance of each segment's last observation to the nearest that was asked about, summed over a group.
    last = candidates.observations[:, -1]
    distance = np.linalg.norm(last[:, None] - seen[None], axis=2).min(axis=1)
    new = np.argsort(-distance[candidates.groups].sum(axis=1))
    return np.concatenate([contested, new[~np.isin(new, contested)]])[:count]


def main() -> None:
    """Train with the rule, which is registered under a name for configurations."""
    torch.set_num_threads(1)
    SELECTION_RULES.register("contested_and_new", select_contested_and_new)
    env = make_vec_env("Pendulum-v1", num_envs=8)
    config = FeedbackConfig(answers=30, selection="contested_and_new")
    feedback = PreferenceCallback(env, "feedback.db", config)
    model = PPO("MlpPolicy", env, n_steps=128, batch_size=128, n_epochs=2, device="cpu", seed=0)
    model.learn(4096, callback=feedback)
    print(f"{feedback.loop.progress.asked} queries asked, {feedback.loop.progress.test_accuracy:.0%} predicted.")


if __name__ == "__main__":
    main()
