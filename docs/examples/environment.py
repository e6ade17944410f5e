"""An environment of your own: a heated room. Its rules are one class; one call registers it, another checks it.

Run it from any folder with `python environment.py`. To train on it from comparisons of your own:
`python -m scripts.train --env environment:home/Thermostat-v0 --feedback window`.
"""

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

from rlhf_envs.envs import Task, normals_from, numbers, register_task
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
    print(f"{len(report.passed)} checks passed")
    for name, reason in report.skipped.items():
        print(f"skipped {name}: {reason}")
    env = gym.make_vec("home/Thermostat-v0", num_envs=64)
    observations, _ = env.reset(seed=0)
    rewards = [env.step(env.action_space.sample())[1].mean() for _ in range(100)]
    print(f"random actions are paid {np.mean(rewards):.2f} a step")
    frame = gym.make("home/Thermostat-v0", render_mode="rgb_array")
    frame.reset(seed=0)
    print("a frame, drawn although the task defines no picture:", frame.render().shape)
