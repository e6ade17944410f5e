"""Before the first question a policy can be paid for going where it has not been."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm

from rlhf_envs.feedback import PreferenceStore
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.loop.exploration import REMEMBERED, StateEntropy
from rlhf_envs.observations import Transitions
from rlhf_envs.rewards import InputEncoder
from rlhf_envs.sb3 import PreferenceCallback, make_vec_env

LENGTH = 40


class Corridor(gym.Env[Any, Any]):
    """A corridor in whose middle every episode begins. Three actions of four do nothing but shake a little."""

    observation_space = spaces.Box(-10, 10, (1,), np.float32)
    action_space = spaces.Discrete(5)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = 0.0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        moved = {3: -0.25, 4: 0.25}.get(int(action), 0.0) + 0.02 * self.np_random.normal()
        self.place = float(np.clip(self.place + moved, -10, 10))
        return self._observation(), -abs(self.place), False, False, {}

    def _observation(self) -> NDArray[np.float32]:
        return np.array([self.place], np.float32)


if "test/Corridor-v0" not in gym.registry:
    gym.register("test/Corridor-v0", entry_point=Corridor, max_episode_steps=LENGTH)


def steps_at(places: Any) -> Transitions:
    shown = np.asarray(places, np.float32).reshape(-1, 1)
    return Transitions(shown, np.zeros(len(shown), np.int64))


def encoder() -> InputEncoder:
    return InputEncoder(Corridor.observation_space, Corridor.action_space)


def test_what_is_far_from_all_that_was_visited_pays_more() -> None:
    explored = StateEntropy(encoder())
    rng = np.random.default_rng(0)
    explored.pay(steps_at(rng.normal(0, 1, 500)))
    paid = explored.pay(steps_at([0.0, 1.0, 3.0, 6.0, 9.0]))
    assert np.all(np.diff(paid) > 0) and paid[0] >= 0
    # What has become familiar pays less.
    explored.pay(steps_at(rng.normal(9, 0.1, 500)))
    assert explored.pay(steps_at([9.0]))[0] < 0.5 * paid[-1]


def test_the_state_of_a_step_is_the_one_that_it_led_to() -> None:
    explored = StateEntropy(encoder())
    explored.pay(steps_at(np.random.default_rng(0).normal(0, 1, 500)))
    shown, following = np.zeros((2, 1), np.float32), np.full((2, 1), 8.0, np.float32)
    ended = np.array([False, True])
    went_on, over = explored.pay(Transitions(shown, np.zeros(2, np.int64), following, ended, ended))
    assert went_on > 3 * over


def test_many_states_are_remembered_as_a_sample_of_all() -> None:
    explored = StateEntropy(encoder())
    for place in range(8):
        explored.pay(steps_at(np.full(REMEMBERED, place)))
    assert explored._states is not None
    counts = np.bincount(explored._states[:, 0].astype(int), minlength=8)
    assert counts.sum() == REMEMBERED
    assert np.all(np.abs(counts - REMEMBERED / 8) < 0.3 * REMEMBERED / 8)


def test_exploration_goes_on_from_a_checkpoint_as_if_nothing_had_happened(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rollouts = [steps_at(rng.normal(0, 2, 900)) for _ in range(6)]
    undisturbed, first, second = (StateEntropy(encoder(), seed=5) for _ in range(3))
    expected = [undisturbed.pay(each) for each in rollouts]
    for each in rollouts[:3]:
        first.pay(each)
    first.save(tmp_path)
    second.restore(tmp_path)
    for paid, again in zip(expected[3:], rollouts[3:], strict=True):
        assert np.array_equal(second.pay(again), paid)


def test_observations_of_pictures_and_large_categories_are_points_as_well() -> None:
    space = spaces.Dict({"picture": spaces.Box(0, 255, (24, 24, 3), np.uint8), "word": spaces.Discrete(1000)})
    explored = StateEntropy(InputEncoder(space, spaces.Discrete(2)))
    rng = np.random.default_rng(0)
    pictures, words = rng.integers(0, 40, (200, 24, 24, 3), np.uint8), rng.integers(0, 5, 200)
    explored.pay(Transitions({"picture": pictures, "word": words}, np.zeros(200, np.int64)))
    pictures[1], words[2] = 255, 700
    shown = {"picture": pictures[:3], "word": words[:3]}
    usual, bright, rare = explored.pay(Transitions(shown, np.zeros(3, np.int64)))
    assert bright > usual and rare > usual


def explored_by(algorithm: BaseAlgorithm, callback: PreferenceCallback, steps: int) -> tuple[float, float]:
    """How widely the policy went just before the first question, and after how many steps that was asked."""
    visited: list[float] = []
    first: list[int] = []

    def watch(locals_: dict[str, Any], globals_: dict[str, Any]) -> bool:
        return True

    ask = callback.loop._chooser.choose

    def choose(recorder: Any, *args: Any, **keywords: Any) -> Any:
        if not first:
            first.append(algorithm.num_timesteps)
            observations, _, _ = recorder.latest(min(LENGTH * 4, recorder.filled))
            visited.append(float(np.ptp(observations)))
        return ask(recorder, *args, **keywords)

    callback.loop._chooser.choose = choose  # type: ignore[method-assign]
    algorithm.learn(steps, callback)
    return visited[0], first[0]


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_a_policy_that_explores_first_is_asked_about_more_of_the_environment(share: float, tmp_path: Path) -> None:
    steps, copies = 12_000, 8
    env = make_vec_env("test/Corridor-v0", copies, seed=0)
    model = PPO("MlpPolicy", env, n_steps=80, batch_size=320, n_epochs=6, learning_rate=3e-3, seed=0, device="cpu")
    config = FeedbackConfig(answers=8, segment_length=10, explore_share=share, initial_share=1.0)
    callback = PreferenceCallback(env, tmp_path / "store.sqlite", config, "oracle")
    reach, asked_at = explored_by(model, callback, steps)
    with PreferenceStore.open(tmp_path / "store.sqlite") as store:
        assert len(store.live_answers()) == 8
    if share:
        # A random walk of these steps ends within about 4.
        assert asked_at == pytest.approx(share * steps, abs=80 * copies) and reach > 9
    else:
        assert asked_at == 80 * copies and reach < 6
    callback.close()
    env.close()


def test_an_off_policy_algorithm_learns_while_it_explores(tmp_path: Path) -> None:
    env = make_vec_env("test/Corridor-v0", 4, seed=0)
    model = DQN("MlpPolicy", env, learning_starts=100, train_freq=1, gradient_steps=1, seed=0, device="cpu")
    config = FeedbackConfig(answers=4, segment_length=10, explore_share=0.5, initial_share=1.0)
    callback = PreferenceCallback(env, tmp_path / "store.sqlite", config, "oracle")
    _, asked_at = explored_by(model, callback, 4_000)
    assert asked_at >= 2_000
    assert model._n_updates > (asked_at - 200) / 4
    callback.close()
    env.close()


def test_exploration_has_to_end_before_all_is_asked() -> None:
    with pytest.raises(ValueError, match=r"from 0 to below ask_until, 0.5, .* not 0.5"):
        FeedbackConfig(explore_share=0.5, ask_until=0.5)
