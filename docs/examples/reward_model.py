"""A reward model that is used again: what PPO's run has learned from preferences trains SAC, without further questions.

Run it from any folder with `python reward_model.py`. With runs of the training command the same is
`python -m scripts.train --env Pendulum-v1 --learner sac --reward-model runs/ours --run-dir runs/sac`.
"""

from tempfile import TemporaryDirectory

import torch
from stable_baselines3 import PPO, SAC

from rlhf_envs.evaluation import SB3Policy, evaluate
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.rewards import load, save
from rlhf_envs.sb3 import PreferenceCallback, make_vec_env


def learn_reward(folder):
    """A reward model from 30 answers, saved as one would for another day."""
    env = make_vec_env("Pendulum-v1", num_envs=8, seed=0)
    callback = PreferenceCallback(env, f"{folder}/feedback.db", FeedbackConfig(answers=30), annotator="oracle")
    PPO("MlpPolicy", env, n_steps=256, batch_size=128, seed=0, device="cpu").learn(12_000, callback=callback)
    save(callback.loop.ensemble, f"{folder}/reward_model")
    callback.close()


def train_on_it(folder, steps=4_000):
    """Another algorithm on that reward. With answers=20 the first fit would replace it, as again.db has only those 20.

    To learn on from earlier answers, put them into that store (`rlhf-envs archive import`), or use `--reward-model`.
    """
    env = make_vec_env("Pendulum-v1", num_envs=8, seed=1)
    reward_model = load(f"{folder}/reward_model")
    callback = PreferenceCallback(env, f"{folder}/again.db", FeedbackConfig(answers=0), ensemble=reward_model)
    model = SAC("MlpPolicy", env, learning_rate=1e-3, learning_starts=800, gradient_steps=8, seed=0, device="cpu")
    print(f"true return before: {evaluate(SB3Policy(model), 'Pendulum-v1', episodes=10).mean:.0f}")
    model.learn(steps, callback=callback)
    print(f"true return after:  {evaluate(SB3Policy(model), 'Pendulum-v1', episodes=10).mean:.0f}")
    callback.close()


if __name__ == "__main__":
    torch.set_num_threads(1)  # small networks run fastest on one
    with TemporaryDirectory() as folder:
        learn_reward(folder)
        train_on_it(folder)
