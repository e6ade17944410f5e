"""An environment of your own: a heated room. Its rules are one class; one call registers it, another checks it.

Run it from any folder with `python environment.py`. To train on it from comparisons of your own:
`python -m scripts.train --env environment:home/Thermostat-v0 --feedback window`.
"""

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from stable_baselines3 import PPO

from rlhf_envs.envs import Task, normals_from, numbers, register_task
from rlhf_envs.sb3 import PreferenceCallback, make_vec_env
from rlhf_envs.testing import check_environment


class Thermostat(Task):
    """Keep a room pleasant without wasting energy. Actions: 0 cools, 1 does nothing, 2 heats."""

    observation_space = Box(-1, 1, (3,), np.float32)
    action_space = Discrete(3)
    fields = numbers("room", "outside", "power")
    reward_weights = {"comfort": 1.0, "energy": -0.3}
    reset_draws = {"room": (), "outside": ()}
    step_draws = {"draught": (2,)}
    rubric = "In which room would you rather live, and pay for it? If both are alike, prefer the cheaper one."

    # Every array holds many rooms at once, (N,): the same lines run one copy or a thousand.
    def begin(self, state, draws):
        """A new day: random temperatures inside and outside, in degrees Celsius."""
        state.room = 10 + 20 * draws.room
        state.outside = -5 + 30 * draws.outside
        state.power = 0

    def advance(self, state, actions, draws):
        """One minute: heat flows; what it is worth is named, and people judge it anyway."""
        state.power = actions - 1
        state.room += 1.5 * state.power + 0.05 * (state.outside - state.room) + 0.2 * normals_from(*draws.draught)
        comfort = np.maximum(1 - np.abs(state.room - 21) / 8, -1)
        return {"comfort": comfort, "energy": np.abs(state.power)}

    def observe(self, state):
        """What the agent sees, (N, 3)."""
        seen = np.stack([state.room / 21 - 1, state.outside / 21 - 1, state.power], axis=1)
        return np.clip(seen, -1, 1)


register_task("home/Thermostat-v0", Thermostat, horizon=100)

if __name__ == "__main__":
    report = check_environment("home/Thermostat-v0")
    print(f"{len(report.passed)} checks passed; skipped: {report.skipped}. {report.clips}")
    # Learn it from comparisons that a scripted teacher answers; annotator=None waits for people in its place.
    torch.set_num_threads(1)
    env = make_vec_env("home/Thermostat-v0", num_envs=8, seed=0)
    feedback = PreferenceCallback(env, "feedback.db", annotator="oracle", on_round=print)
    PPO("MlpPolicy", env, n_steps=256, batch_size=256, device="cpu", seed=0).learn(4096, callback=feedback)
