"""A learner of your own: A2C, which learns from preferences in a script, or as `--learner` of the training command.

Run it from any folder with `python learner.py`. From the folder that it lies in, with all that a training run does:
`python -m scripts.train --env Pendulum-v1 --learner learner:A2CLearner --learner.gamma 0.95`.
"""

from dataclasses import dataclass
from tempfile import TemporaryDirectory

from stable_baselines3 import A2C

from rlhf_envs.learners import Learner
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.sb3 import PreferenceCallback, make_vec_env


@dataclass(frozen=True)
class A2CConfig:
    """Settings of A2C; on the command line they are --learner.num-envs and so on.

    Attributes:
        num_envs: copies of the environment. Every learner needs this one.
        n_steps: steps of every copy in a rollout.
        gamma: discount.
        learning_rate: of RMSprop.
    """

    num_envs: int = 8
    n_steps: int = 32
    gamma: float = 0.98
    learning_rate: float = 7e-4


class A2CLearner(Learner[A2CConfig]):
    """Advantage actor-critic (Mnih et al. 2016)."""

    settings_class = A2CConfig

    def build(self, env, settings, seed, device="cpu"):
        """Any algorithm of Stable-Baselines3 with a rollout buffer will do."""
        return A2C(
            "MlpPolicy",
            env,
            n_steps=settings.n_steps,
            gamma=settings.gamma,
            learning_rate=settings.learning_rate,
            seed=seed,
            device=device,
        )


if __name__ == "__main__":
    settings = A2CConfig()
    env = make_vec_env("Pendulum-v1", settings.num_envs, seed=0)
    model = A2CLearner().build(env, settings, seed=0)
    with TemporaryDirectory() as folder:
        callback = PreferenceCallback(env, f"{folder}/feedback.db", FeedbackConfig(answers=24), annotator="oracle")
        model.learn(8_000, callback=callback)
        print(f"{len(callback.loop.dataset)} answers; true return {sum(env.true_returns) / len(env.true_returns):.0f}")
        callback.close()
