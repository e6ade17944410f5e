"""Rewards that are filled in when a rollout is complete are worth what they would have been worth step by step."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.feedback import PreferenceStore
from rlhf_envs.feedback.store.status import TRAINING
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.observations import Transitions
from rlhf_envs.rewards import EnsembleConfig, FitConfig, RewardEnsemble
from rlhf_envs.sb3 import (
    EnvironmentRewardCallback,
    PreferenceCallback,
    PreferenceVecEnv,
    ScoringCallback,
    VectorEnvBridge,
    make_vec_env,
)
from rlhf_envs.wrappers import LearnedReward, adapt

HORIZON = 12


class FirstNumber(ScoringCallback):
    """Pays the first number of the observation, and remembers what the buffer held before and after."""

    def before_scoring(self) -> bool:
        self.unscored = self.model.rollout_buffer.rewards.copy()  # type: ignore[attr-defined]
        return False

    def score(self, transitions: Transitions) -> NDArray[np.float32]:
        observations: Any = transitions.observations
        return np.asarray(observations[:, 0], np.float32)


class Watch(BaseCallback):
    """Remembers the infos of a rollout, and the buffer at its end."""

    def __init__(self) -> None:
        super().__init__()
        self.infos: list[list[dict[str, Any]]] = []
        self.dones: list[NDArray[np.bool_]] = []

    def _on_step(self) -> bool:
        self.infos.append(self.locals["infos"])
        self.dones.append(self.locals["dones"])
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer  # type: ignore[attr-defined]
        parts = ("rewards", "advantages", "returns", "values", "observations", "episode_starts")
        self.buffer = {name: getattr(buffer, name).copy() for name in parts}
        self.last_values = self.locals["values"].numpy().flatten()


def rolled_out(algorithm: type[PPO] | type[A2C] = PPO) -> tuple[FirstNumber, Watch, Any, PreferenceVecEnv]:
    env = make_vec_env(EnvironmentRef("rlhf/Driving-v1", {"horizon": HORIZON}), 3)
    size: Any = {"batch_size": 96} if algorithm is PPO else {}
    model = algorithm("MlpPolicy", env, n_steps=32, gamma=0.9, device="cpu", **size)
    scoring, watch = FirstNumber(env), Watch()
    model.learn(96, callback=[scoring, watch])
    return scoring, watch, model, env


def bootstraps(watch: Watch) -> NDArray[np.bool_]:
    return np.array(watch.dones)


def test_during_a_rollout_the_algorithm_sees_no_reward_but_its_own_bootstrap() -> None:
    scoring, watch, _, env = rolled_out()
    at_ends = bootstraps(watch)
    assert at_ends.sum() >= 6
    assert np.all(scoring.unscored[~at_ends] == 0)
    assert np.all(scoring.unscored[at_ends] != 0)
    true = np.array([[info["true_reward"] for info in infos] for infos in watch.infos])
    assert np.array_equal(true.reshape(-1).astype(np.float32), env.recorder.latest(32)[2])
    assert not np.allclose(watch.buffer["rewards"][~at_ends], true[~at_ends])


@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_advantages_are_those_of_rewards_that_were_paid_step_by_step(algorithm: type[PPO] | type[A2C]) -> None:
    scoring, watch, model, _ = rolled_out(algorithm)
    held, gamma, trace = watch.buffer, model.gamma, model.gae_lambda
    assert np.array_equal(scoring.last_scores, held["observations"][:, :, 0])
    assert np.allclose(held["rewards"], scoring.unscored + scoring.last_scores, atol=1e-6)
    # Generalised advantage estimation (Schulman et al. 2016, equation 16), written down once more.
    expected = np.zeros_like(held["rewards"])
    running = np.zeros(3)
    for step in reversed(range(32)):
        goes_on = 1.0 - (watch.dones[-1] if step == 31 else held["episode_starts"][step + 1])
        after = watch.last_values if step == 31 else held["values"][step + 1]
        error = held["rewards"][step] + gamma * after * goes_on - held["values"][step]
        running = error + gamma * trace * goes_on * running
        expected[step] = running
    assert np.allclose(held["advantages"], expected, atol=1e-4)
    assert np.allclose(held["returns"], expected + held["values"], atol=1e-4)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_the_baseline_is_what_plain_stable_baselines3_gives(env_id: str) -> None:
    # Poles fall and pendulums reach their limit of 200 steps in the first rollout or the second.
    settings: Any = {"n_steps": 128, "batch_size": 64, "n_epochs": 3, "seed": 3, "device": "cpu"}
    # Actions go from -1 to 1 in both.
    plain_env = DummyVecEnv([lambda: adapt(gym.make(env_id), env_id) for _ in range(4)])
    plain_env.seed(3)
    plain = PPO("MlpPolicy", plain_env, **settings).learn(2 * 4 * 128)
    env = make_vec_env(env_id, 4, seed=3, hide_reward=False)
    scored = PPO("MlpPolicy", env, **settings).learn(2 * 4 * 128, EnvironmentRewardCallback(env))
    expected = plain.policy.state_dict()
    for name, parameters in scored.policy.state_dict().items():
        assert torch.equal(parameters, expected[name]), name
    held: Any = scored.rollout_buffer
    assert np.array_equal(held.rewards, plain.rollout_buffer.rewards)


def test_a_callback_of_another_environment_is_refused(tmp_path: Path) -> None:
    env, other = make_vec_env("CartPole-v1", 2), make_vec_env("CartPole-v1", 2)
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=32, device="cpu")
    callback = PreferenceCallback(other, tmp_path / "feedback.db", FeedbackConfig(answers=4, segment_length=5))
    with pytest.raises(ValueError, match="another environment than the one that its callback scores"):
        model.learn(32, callback=callback)
    callback.loop.store.close()


def test_a_training_goes_on_with_an_objective_and_an_annotator_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "parts_of_mine.py").write_text(
        "from rlhf_envs.objectives import Probit\nclass Cautious(Probit):\n    'One of a user.'\n"
        "def upright(left, right):\n    return 'left' if abs(left.observations[-1, 2]) < abs(right.observations[-1, 2])"
        " else 'right'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def callback(store: PreferenceStore) -> PreferenceCallback:
        env = make_vec_env("CartPole-v1", 2)
        config = FeedbackConfig(segment_length=5)
        ensemble = EnsembleConfig(objective="parts_of_mine:Cautious")
        return PreferenceCallback(env, store, config, annotator="parts_of_mine:upright", ensemble=ensemble)

    with PreferenceStore.create(tmp_path / "feedback.db") as store:
        first, second = callback(store), callback(store)
        PPO("MlpPolicy", first.env, n_steps=128, batch_size=64, n_epochs=1, device="cpu", seed=0).learn(256, first)
        assert {live.annotator for live in store.live_answers()} == {"upright"}
        second.restore(tmp_path, first.save(tmp_path))
        for one in (first, second):
            assert type(one.loop.ensemble.objective).__name__ == "Cautious" and one.loop.ensemble.fits > 0
        assert len(second.loop.dataset) == len(first.loop.dataset) > 0


def test_an_annotator_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    env = make_vec_env("CartPole-v1", 2)
    with pytest.raises(ValueError, match="no annotator 'sage'; choose one of oracle"):
        PreferenceCallback(env, tmp_path / "feedback.db", FeedbackConfig(answers=4), annotator="sage")


def test_segments_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    env = make_vec_env(EnvironmentRef("rlhf/Driving-v1", {"horizon": 20}), 2)
    with pytest.raises(ValueError, match="Segments of 21 steps do not fit into episodes of 20"):
        PreferenceCallback(env, tmp_path / "feedback.db", FeedbackConfig(segment_length=21))


def test_a_callback_goes_on_in_a_store_that_is_open_already(tmp_path: Path) -> None:
    env = make_vec_env("CartPole-v1", 4)
    with PreferenceStore.create(tmp_path / "feedback.db", StoredEnvironment(EnvironmentRef("CartPole-v1"))) as store:
        callback = PreferenceCallback(env, store, FeedbackConfig(answers=9, segment_length=5), seed=1)
        PPO("MlpPolicy", env, n_steps=32, batch_size=64, device="cpu").learn(256, callback=callback)
        assert len(store.queries()) == callback.loop.progress.asked + callback.loop.progress.held_out


@pytest.mark.parametrize("algorithm", [SAC, DQN])
def test_other_algorithms_train_on_a_finished_reward_model(algorithm: type[SAC] | type[DQN]) -> None:
    name = "Pendulum-v1" if algorithm is SAC else "CartPole-v1"
    plain = EnvironmentRef(name).make_vector(1)
    ensemble = RewardEnsemble(plain.single_observation_space, plain.single_action_space, EnsembleConfig(2, (8,)))
    env = VectorEnvBridge(LearnedReward(plain, ensemble))
    model = algorithm("MlpPolicy", env, learning_starts=50, buffer_size=1000, device="cpu")
    model.learn(120)
    buffer: Any = model.replay_buffer
    shape: Any = env.action_space.shape
    paid = ensemble.reward(buffer.observations[:120, 0], buffer.actions[:120, 0].reshape(120, *shape))
    if algorithm is DQN:
        # SAC keeps actions scaled to [-1, 1] in its buffer.
        assert np.allclose(buffer.rewards[:120, 0], paid, atol=1e-5)
    env.reset()
    action = np.zeros((1, *shape), env.action_space.dtype)
    _, rewards, _, infos = env.step(action)
    assert infos[0]["true_reward"] != pytest.approx(float(rewards[0]))


def test_the_learned_return_is_carried_on_over_fits_whose_rewards_have_other_scales(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = make_vec_env(EnvironmentRef("rlhf/Recommender-v1", {"horizon": 16}), 4)
    feedback = FeedbackConfig(answers=12, segment_length=4, visit_every=1, initial_share=0.25, ask_until=1.0)
    small = EnsembleConfig(members=2, hidden=(4,), potential=False)

    def curve(name: str, reward: Any) -> list[float]:
        monkeypatch.setattr(RewardEnsemble, "reward", reward)
        callback = PreferenceCallback(
            env, tmp_path / name, feedback, ensemble=small, fit=FitConfig(steps=5, epochs=1), seed=1
        )
        model = PPO("MlpPolicy", env, n_steps=16, batch_size=64, n_epochs=1, device="cpu", seed=1)
        model.learn(640, callback=callback)
        points = callback.loop.store.statuses()[TRAINING].value["curve"]
        assert callback.loop.ensemble.fits >= 3
        callback.loop.store.close()
        return [float(point[3]) for point in points if point[3] is not None]

    # Every fit raises the reward of everything: nothing is done better for that.
    raised = curve("raised.db", lambda self, observations, actions: np.full(len(actions), float(self.fits), np.float32))
    assert len(raised) >= 5 and set(raised) == {0.0}
    rounds = iter(range(10**6))
    better = curve("better.db", lambda self, observations, actions: np.full(len(actions), next(rounds), np.float32))
    # Of two calls the first scores the newest round: one less than the round before, in each of 16 steps.
    assert np.allclose(np.diff(better), -16.0)
