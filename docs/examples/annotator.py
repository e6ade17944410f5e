"""An annotator of your own: a function of two clips. Here a measurement; a vision-language model has the same form.

On the command line: `python -m scripts.train --env Pendulum-v1 --feedback annotator:calmer`, with this file's folder in
PYTHONPATH. Something that answers in another way, such as many queries at a time, is a class with a method
`serve(store)`; see `rlhf_envs.feedback.Annotator`.
"""

import numpy as np
import torch
from stable_baselines3 import PPO

from rlhf_envs.feedback import Clip
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.sb3 import PreferenceCallback, make_vec_env


def calmer(left: Clip, right: Clip) -> str:
    """Prefers the clip whose pendulum turns more slowly; a function that looks would use `left.frames`."""
    speeds = [float(np.abs(clip.observations[:, 2]).mean()) for clip in (left, right)]
    if abs(speeds[0] - speeds[1]) < 0.05:
        return "tie"
    return "left" if speeds[0] < speeds[1] else "right"


def main() -> None:
    """Train on its answers, and print how many there were."""
    torch.set_num_threads(1)
    env = make_vec_env("Pendulum-v1", num_envs=8)
    feedback = PreferenceCallback(env, "feedback.db", FeedbackConfig(answers=30), annotator=calmer)
    model = PPO("MlpPolicy", env, n_steps=128, batch_size=128, n_epochs=2, device="cpu", seed=0)
    model.learn(4096, callback=feedback)
    answers = feedback.loop.store.live_answers(annotator="calmer")
    print(f"{len(answers)} answers by {answers[0].annotator}, {feedback.loop.progress.test_accuracy:.0%} predicted.")


if __name__ == "__main__":
    main()
