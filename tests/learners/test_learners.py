"""Every learner learns from preferences, in a script and in a run, whatever kind of buffer it has."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import DDPG, DQN, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecFrameStack, VecNormalize
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from agents.config import RunConfig, RunOptions
from agents.train import build, check_settings
from rlhf_envs.environment import EnvironmentRef, WrapperRef
from rlhf_envs.evaluation import SB3Policy, evaluate
from rlhf_envs.learners import LEARNERS, find_learner
from rlhf_envs.learners.normaliser import normalised
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.observations import Transitions
from rlhf_envs.rewards import EnsembleConfig
from rlhf_envs.sb3 import PreferenceCallback, PreferenceVecEnv, make_vec_env

ON_POLICY = {"n_steps": 32}
PPO_LIKE = {**ON_POLICY, "batch_size": 64, "n_epochs": 1}
OFF_POLICY = {"buffer_size": 500, "batch_size": 16, "learning_starts": 20}
SMALL: dict[str, dict[str, Any]] = {
    "ppo": PPO_LIKE,
    "a2c": {},
    "sac": OFF_POLICY,
    "td3": {**OFF_POLICY, "action_noise": "ornstein-uhlenbeck"},
    "dqn": OFF_POLICY,
    "tqc": {**OFF_POLICY, "n_quantiles": 5},
    "recurrent-ppo": {**PPO_LIKE, "lstm_hidden_size": 8},
    "maskable-ppo": PPO_LIKE,
}
STEPS = 600


class NoLeft(gym.Wrapper[Any, Any, Any, Any]):
    """A pole that may be pushed to the left at every other step only."""

    def action_masks(self) -> NDArray[np.bool_]:
        """Which of the two actions are allowed."""
        self.asked = not getattr(self, "asked", False)
        return np.array([self.asked, True])


def environment(name: str) -> EnvironmentRef:
    if name == "maskable-ppo":
        return EnvironmentRef("CartPole-v1", wrappers=(WrapperRef(f"{__name__}:NoLeft"),))
    return EnvironmentRef("CartPole-v1" if name == "dqn" else "Pendulum-v1")


def built(name: str, **more: Any) -> tuple[PreferenceVecEnv, BaseAlgorithm]:
    learner = find_learner(name)
    settings = replace(learner.settings_class(), num_envs=2, net_arch=(8,), **SMALL[name], **more)
    env = make_vec_env(environment(name), settings.num_envs)
    return env, learner.build(normalised(env, settings), settings, seed=0)


def callback(env: PreferenceVecEnv, folder: Path, **settings: Any) -> PreferenceCallback:
    feedback = FeedbackConfig(**{"answers": 24, "segment_length": 6, **settings})
    return PreferenceCallback(env, folder / "feedback.db", feedback, ensemble=EnsembleConfig(2, (8,)))


def held(model: Any, frames: slice = slice(None)) -> tuple[Transitions, NDArray[np.float32]]:
    """The transitions, with actions as the environment took them, and rewards of all that a replay buffer holds."""
    buffer, space = model.replay_buffer, model.action_space
    size = buffer.buffer_size if buffer.full else buffer.pos
    actions = buffer.actions[:size].reshape(-1, *space.shape)
    if isinstance(space, spaces.Box):
        actions = model.policy.unscale_action(actions)
    shown, after = (
        held[:size].reshape(-1, *held.shape[2:])[:, frames] for held in (buffer.observations, buffer.next_observations)
    )
    ended = buffer.dones[:size].reshape(-1) != 0
    terminated = ended & (buffer.timeouts[:size].reshape(-1) == 0)
    found = Transitions(shown, actions.astype(space.dtype), after, ended, terminated)
    return found, buffer.rewards[:size].reshape(-1)


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_learns_from_preferences_and_acts(name: str, tmp_path: Path) -> None:
    env, model = built(name, normalize_observations=True)
    before = {key: value.clone() for key, value in model.policy.state_dict().items()}
    scoring = callback(env, tmp_path)
    model.learn(STEPS, callback=scoring)
    assert len(scoring.loop.dataset) == 24 and scoring.loop.ensemble.fits >= 2
    assert any(not value.equal(before[key]) for key, value in model.policy.state_dict().items())
    assert scoring.last_scores.std() > 0
    normaliser = model.get_vec_normalize_env()
    assert isinstance(normaliser, VecNormalize) and normaliser.norm_obs and not normaliser.norm_reward
    # The reward model has been shown what the environment shows.
    assert np.array_equal(env.recorder.latest(1)[0].dtype, env.observation_space.dtype)  # type: ignore[union-attr]
    assert evaluate(SB3Policy(model), environment(name), episodes=2).mean is not None
    scoring.close()


@pytest.mark.parametrize("name", ["sac", "td3", "dqn", "tqc"])
def test_everything_in_a_replay_buffer_is_paid_by_the_newest_reward(name: str, tmp_path: Path) -> None:
    # The buffer of 250 steps of each copy is written over before the end.
    env, model = built(name)
    scoring = callback(env, tmp_path)
    model.learn(STEPS, callback=scoring)
    transitions, rewards = held(model)
    assert len(rewards) == 500 and scoring.loop.ensemble.fits >= 2
    assert np.allclose(rewards, scoring.loop.ensemble.transition_reward(transitions), atol=1e-5)
    assert rewards.std() > 0.01
    scoring.close()


def test_a_buffer_that_is_too_large_to_be_paid_at_once_is_paid_during_the_next_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlhf_envs.sb3.scoring._ROWS_AT_ONCE", 20)
    monkeypatch.setattr("rlhf_envs.sb3.scoring._CHUNK", 14)
    env, model = built("sac")
    scoring = callback(env, tmp_path)
    outdated = []

    class Watch(PreferenceCallback):
        def _on_rollout_end(self) -> None:
            super()._on_rollout_end()
            assert self.rewards is not None
            outdated.append(self.rewards.state()["outdated"])

    scoring.__class__ = Watch
    model.learn(STEPS, callback=scoring)
    transitions, rewards = held(model)
    assert max(outdated) > 100 and outdated[-1] == 0
    assert np.allclose(rewards, scoring.loop.ensemble.transition_reward(transitions), atol=1e-5)
    scoring.close()


def test_before_there_is_a_reward_an_off_policy_algorithm_acts_at_random_and_learns_nothing(tmp_path: Path) -> None:
    env, model = built("sac")
    scoring = callback(env, tmp_path, visit_every=200)
    updates = []

    class Watch(PreferenceCallback):
        def _on_step(self) -> bool:
            updates.append((self.num_timesteps, self.model._n_updates))
            return super()._on_step()

    scoring.__class__ = Watch
    model.learn(400, callback=scoring)
    assert all(count == 0 for steps, count in updates if steps <= 200)
    assert updates[-1][1] > 50 and model.learning_starts == 20  # type: ignore[attr-defined]
    scoring.close()


def test_rewards_reach_the_user_of_a_script_with_wrappers_of_stable_baselines3(tmp_path: Path) -> None:
    env = make_vec_env("Pendulum-v1", 2)
    stacked = VecNormalize(VecFrameStack(env, 3), norm_reward=False)
    small: Any = {"buffer_size": 800, "learning_starts": 20, "batch_size": 16, "policy_kwargs": {"net_arch": [8]}}
    model = SAC("MlpPolicy", stacked, device="cpu", seed=0, **small)
    scoring = callback(env, tmp_path)
    model.learn(STEPS, callback=scoring)
    assert held(model)[0].observations.shape[1] == 9
    transitions, rewards = held(model, slice(-3, None))
    paid = scoring.loop.ensemble.transition_reward(transitions)
    assert np.allclose(rewards, paid, atol=1e-5) and rewards.std() > 0.1
    scoring.close()


@pytest.mark.parametrize(
    "algorithm, more, sentence",
    [
        (DDPG, {"optimize_memory_usage": True, "replay_buffer_kwargs": {"handle_timeout_termination": False}}, "needs"),
        (TD3, {"replay_buffer_class": HerReplayBuffer}, "asks the environment for its rewards"),
    ],
)
def test_buffers_that_learned_rewards_cannot_reach_are_refused(
    algorithm: Any, more: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    env = make_vec_env("Pendulum-v1", 1)
    if more.get("replay_buffer_class") is HerReplayBuffer:
        model = algorithm("MlpPolicy", env, buffer_size=100)
        model.replay_buffer = HerReplayBuffer.__new__(HerReplayBuffer)
    else:
        model = algorithm("MlpPolicy", env, buffer_size=100, **more)
    scoring = callback(env, tmp_path)
    with pytest.raises(ValueError, match=sentence):
        model.learn(100, callback=scoring)
    assert model.num_timesteps == 0
    scoring.close()


@pytest.mark.parametrize("name, wrong", [("sac", "CartPole-v1"), ("tqc", "CartPole-v1"), ("dqn", "Pendulum-v1")])
def test_actions_that_a_learner_cannot_choose_are_refused_with_learners_that_can(name: str, wrong: str) -> None:
    learner = find_learner(name)
    with pytest.raises(ValueError, match=f"{name} needs actions in a .*; ppo, a2c and for a .* space .* can be used"):
        learner.build(make_vec_env(wrong, 1), learner.settings_class(), seed=0)


def test_maskable_ppo_needs_masks_and_keeps_to_them(tmp_path: Path) -> None:
    learner = find_learner("maskable-ppo")
    with pytest.raises(ValueError, match="needs an environment with a method action_masks"):
        learner.build(make_vec_env("CartPole-v1", 1), learner.settings_class(), seed=0)


def test_a_gpu_that_is_not_there_is_refused_and_auto_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    config = RunConfig(EnvironmentRef("Pendulum-v1"), run=RunOptions(device="cuda")).settled()
    with pytest.raises(ValueError, match="--device cuda needs a GPU that PyTorch can use, and it finds none"):
        check_settings(config)
    env, model = build(replace(config, run=RunOptions(device="auto")))
    assert model.device.type == "cpu"
    env.close()


def test_a_replay_buffer_that_memory_has_no_room_for_is_refused_with_a_size_that_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.sysconf", lambda name: 1_000)
    # A step of Pendulum is held twice: 3 numbers of 4 bytes.
    config = replace(RunConfig(EnvironmentRef("Pendulum-v1"), learner="sac").settled(), timesteps=37_500)
    check_settings(config)
    with pytest.raises(ValueError, match=r"--learner\.buffer-size 37500 is the most that fits"):
        check_settings(replace(config, timesteps=37_501))


def test_settings_out_of_range_are_refused() -> None:
    for name, wrong in [
        ("sac", {"ent_coef": "much"}),
        ("sac", {"ent_coef": "-1"}),
        ("sac", {"tau": 1.5}),
        ("td3", {"num_envs": 2, "train_unit": "episode"}),
        ("tqc", {"top_quantiles_to_drop_per_net": 25}),
        ("dqn", {"exploration_fraction": 0.0}),
        ("a2c", {"gamma": float("nan")}),
        ("maskable-ppo", {"use_sde": True}),
    ]:
        with pytest.raises(ValueError, match=next(iter(wrong)) if name != "td3" else "train_unit"):
            find_learner(name).settings_class(**wrong)


@pytest.mark.parametrize("name", ["a2c", "sac", "td3", "dqn"])
def test_the_defaults_are_those_of_stable_baselines3(name: str) -> None:
    learner = find_learner(name)
    settings = replace(learner.settings_class(), num_envs=1)
    env = make_vec_env(environment(name), 1)
    ours: Any = learner.build(env, settings, seed=0)
    theirs: Any = type(ours)("MlpPolicy", env, seed=0, device="cpu")
    for setting in ("gamma", "batch_size", "tau", "learning_starts", "gradient_steps", "buffer_size", "ent_coef", "lr"):
        assert getattr(ours, setting, None) == getattr(theirs, setting, None)
    assert ours.learning_rate == theirs.learning_rate
    assert getattr(ours, "train_freq", None) == getattr(theirs, "train_freq", None) or isinstance(ours, DQN | SAC | TD3)
    assert str(ours.policy) == str(theirs.policy)
    ours_first, theirs_first = (model.policy.state_dict() for model in (ours, theirs))
    assert all(ours_first[key].equal(theirs_first[key]) for key in theirs_first)
