"""A kind of feedback of your own: a thumb up or down for a single clip.

On the command line: `python -m scripts.train --env Pendulum-v1 --kinds feedback_kind:Thumb 0.5`, with this file's
folder in PYTHONPATH.
"""

from dataclasses import dataclass

import torch
from stable_baselines3 import PPO
from torch import Tensor

from rlhf_envs.feedback import KINDS, FeedbackKind, Label
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.sb3 import PreferenceCallback, make_vec_env


@dataclass(frozen=True)
class Thumb(FeedbackKind):
    """The payload is {"thumb": "up"} or {"thumb": "down"}; up says that the return is above 0."""

    name = "thumb"
    fewest_segments = most_segments = 1
    columns = {"thumb": "text"}

    def label(self, choice, payload, segments, steps):
        """1 for up, 0 for down; what is said of anything else completes a sentence."""
        if payload is None or payload.get("thumb") not in ("up", "down"):
            raise ValueError("a thumb is {'thumb': 'up'} or {'thumb': 'down'}")
        return Label((0,), (float(payload["thumb"] == "up"),))

    def scripted_answer(self, teacher, query):
        """Up where the true return is above that of an average stretch of the run."""
        average = query.context["average_return"] / query.context["horizon"] * len(query.segments[0])
        return None, {"thumb": "up" if teacher.returns(query)[0] > average else "down"}

    def predict(self, rewards: Tensor) -> Tensor:
        """The return of the one segment, (members, labels)."""
        return rewards[:, 0].sum(dim=2)

    def loss(self, predictions, labels, objective):
        """As if it were compared with a segment of return 0."""
        return objective.comparison_loss(predictions, labels.targets[:, 0], labels.error_rates)


def main() -> None:
    """Ask for thumbs and comparisons, half of each, and learn from both."""
    torch.set_num_threads(1)
    KINDS.register("thumb", Thumb())
    env = make_vec_env("Pendulum-v1", num_envs=8)
    feedback = PreferenceCallback(env, "feedback.db", FeedbackConfig(answers=40, kinds={"thumb": 0.5}))
    PPO("MlpPolicy", env, n_steps=128, batch_size=128, n_epochs=2, device="cpu").learn(4096, callback=feedback)
    print(feedback.loop.dataset.counts, f"{feedback.loop.progress.test_accuracy:.0%} predicted.")


if __name__ == "__main__":
    main()
