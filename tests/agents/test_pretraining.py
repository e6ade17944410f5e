"""The pretrained start: a policy that imitates, generalises, explores, and that PPO can go on with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib import RecurrentPPO
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import rlhf_envs  # noqa: F401 - registers the environments
from agents.pretraining import PretrainConfig, PretrainReport, pretrain
from rlhf_envs.demonstrations import Demonstrations, Episode, from_expert
from rlhf_envs.environment import EnvironmentRef

DRIVING = "rlhf/Driving-v1"


class Rooms(gym.Env[Any, Any]):
    """Any spaces, without a task."""

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.observation_space.sample(), 0.0, False, True, {}


def ppo(env: gym.Env[Any, Any], policy: str = "MlpPolicy", seed: int = 0, **settings: Any) -> PPO:
    return PPO(policy, DummyVecEnv([lambda: env]), n_steps=64, batch_size=64, seed=seed, device="cpu", **settings)


def cartpole_controller(observation: NDArray[Any]) -> int:
    """Moves under the pole: towards where it leans and turns."""
    return int(observation[2] + 0.5 * observation[3] + 0.05 * observation[1] > 0)


def cartpole_episode(act: Callable[[NDArray[Any]], int], seed: int) -> Episode:
    env = gym.make("CartPole-v1")
    observation, _ = env.reset(seed=seed)
    seen, done = [], []
    ended = False
    while not ended:
        seen.append(observation)
        done.append(act(observation))
        observation, _, terminated, truncated, _ = env.step(done[-1])
        ended = terminated or truncated
    return Episode(np.array(seen), np.array(done), np.ones(len(done)))


def cartpole_demonstrations(episodes: int) -> Demonstrations:
    env = gym.make("CartPole-v1")
    acted = [cartpole_episode(cartpole_controller, seed) for seed in range(episodes)]
    return Demonstrations.from_episodes("CartPole-v1", env.observation_space, env.action_space, acted)


def cartpole_return(model: PPO, episodes: int = 5) -> float:
    def act(observation: NDArray[Any]) -> int:
        return int(model.predict(observation, deterministic=True)[0])

    return float(np.mean([len(cartpole_episode(act, 1000 + seed).actions) for seed in range(episodes)]))


def driving_return(act: Callable[[NDArray[Any], Any], NDArray[Any]]) -> float:
    env: Any = gym.make_vec(DRIVING, num_envs=32).unwrapped
    observations, _ = env.reset(seed=1000)
    total = np.zeros(32)
    for _ in range(env.horizon):
        observations, _, _, _, info = env.step(act(observations, env))
        total += info["true_reward"]
    return float(total.mean())


@pytest.fixture(scope="module")
def driving_demonstrations() -> Demonstrations:
    return from_expert(DRIVING, episodes=40, seed=0, noise=0.1)


@pytest.fixture(scope="module")
def driver(driving_demonstrations: Demonstrations) -> tuple[PPO, PretrainReport]:
    model = ppo(gym.make(DRIVING))
    return model, pretrain(model, driving_demonstrations)


def test_a_cloned_driver_does_most_of_what_the_expert_does(driver: tuple[PPO, PretrainReport]) -> None:
    model, report = driver
    expert = driving_return(lambda _, env: env.expert_action())
    untrained = ppo(gym.make(DRIVING))
    start = driving_return(lambda seen, _: untrained.predict(seen, deterministic=True)[0])
    cloned = driving_return(lambda seen, _: model.predict(seen, deterministic=True)[0])
    assert (cloned - start) / (expert - start) > 0.8
    # As PPO begins to explore, too: it draws its actions.
    torch.manual_seed(0)
    drawn = driving_return(lambda seen, _: model.predict(seen)[0])
    assert (drawn - start) / (expert - start) > 0.6
    assert drawn > driving_return(lambda seen, _: untrained.predict(seen)[0]) + 0.5 * expert
    assert report.held_out_mean_squared_error is not None
    assert report.held_out_mean_squared_error < 0.05
    assert report.held_out_accuracy is None
    assert (report.episodes, report.steps) == (40, 8000)


def test_a_driver_cloned_from_an_expert_that_never_strays_drives_worse(driver: tuple[PPO, PretrainReport]) -> None:
    model = ppo(gym.make(DRIVING))
    pretrain(model, from_expert(DRIVING, episodes=40, seed=0))
    strayed, never = (driving_return(lambda x, _, m=m: m.predict(x, deterministic=True)[0]) for m in (driver[0], model))
    assert strayed > never + 30


def test_a_cloned_policy_still_explores(driver: tuple[PPO, PretrainReport]) -> None:
    deviation = driver[0].policy.log_std.exp()
    assert (deviation >= 0.2 - 1e-6).all()
    assert (deviation < 0.5).all()


def test_a_deviation_that_was_chosen_small_is_neither_raised_nor_made_smaller() -> None:
    env = Rooms(spaces.Box(-1, 1, (1,), np.float32), spaces.Box(-1, 1, (1,), np.float32))
    episode = Episode(np.zeros((50, 1), np.float32), np.full((50, 1), 0.5), np.zeros(50))
    demonstrations = Demonstrations.from_episodes("Rooms-v0", env.observation_space, env.action_space, [episode] * 4)
    model = ppo(env, policy_kwargs={"log_std_init": -3.0})
    report = pretrain(model, demonstrations, PretrainConfig(learning_rate=1e-2))
    assert report.held_out_mean_squared_error is not None
    assert report.held_out_mean_squared_error < 1e-3
    assert model.policy.log_std.item() == pytest.approx(-3.0, abs=0.1)


def test_a_cloned_cart_balances_its_pole() -> None:
    demonstrations = cartpole_demonstrations(4)
    assert (np.bincount(demonstrations.episode_of_step, demonstrations.true_rewards) == 500).all()
    # Of another seed, because the untrained policy of seed 0 happens to balance for 300 steps.
    model = ppo(gym.make("CartPole-v1"), seed=1)
    untrained = cartpole_return(model)
    report = pretrain(model, demonstrations)
    assert untrained < 200
    assert cartpole_return(model) > 450
    assert report.held_out_accuracy is not None
    assert report.held_out_accuracy > 0.9
    assert report.held_out_mean_squared_error is None


def test_ppo_goes_on_from_a_cloned_policy_with_a_fresh_optimiser(tmp_path: Path) -> None:
    model = ppo(gym.make("CartPole-v1")).learn(64)
    before = model.policy.optimizer.param_groups[0]["params"]
    assert model.policy.optimizer.state_dict()["state"]
    pretrain(model, cartpole_demonstrations(2), PretrainConfig(max_epochs=2))
    assert not model.policy.optimizer.state_dict()["state"]
    assert all(left is right for left, right in zip(before, model.policy.parameters(), strict=True))
    cloned = [parameter.detach().clone() for parameter in before]
    model.learn(64, reset_num_timesteps=False)
    assert any(not torch.equal(old, new) for old, new in zip(cloned, before, strict=True))
    model.save(tmp_path / "policy.zip")


def test_the_value_function_is_left_alone(driver: tuple[PPO, PretrainReport]) -> None:
    untouched, cloned = ppo(gym.make(DRIVING)).policy.state_dict(), driver[0].policy.state_dict()
    for name in untouched:
        is_value = "value" in name
        assert torch.equal(untouched[name], cloned[name]) == is_value, name


def test_the_same_seed_gives_the_same_policy_and_touches_no_global_stream() -> None:
    demonstrations = cartpole_demonstrations(3)

    def cloned(seed: int) -> list[torch.Tensor]:
        model = ppo(gym.make("CartPole-v1"))
        torch.manual_seed(seed + 100)
        np.random.seed(seed + 100)  # noqa: NPY002 - the stream that must not be touched
        streams = torch.get_rng_state(), np.random.get_state(legacy=False)  # noqa: NPY002
        pretrain(model, demonstrations, PretrainConfig(max_epochs=3), seed=seed)
        assert torch.equal(streams[0], torch.get_rng_state())
        np.testing.assert_equal(np.random.get_state(legacy=False), streams[1])  # noqa: NPY002
        return list(model.policy.parameters())

    first, again, other = cloned(0), cloned(0), cloned(1)
    assert all(torch.equal(left, right) for left, right in zip(first, again, strict=True))
    assert any(not torch.equal(left, right) for left, right in zip(first, other, strict=True))


def test_imitation_stops_when_it_no_longer_helps_and_keeps_the_best_policy() -> None:
    # Observations say nothing about these actions: all there is to learn is by heart, and that fails held-out episodes.
    rng = np.random.default_rng(0)
    env = Rooms(spaces.Box(-1, 1, (8,), np.float32), spaces.Discrete(4))
    noise = [Episode(rng.uniform(-1, 1, (20, 8)).astype("f4"), rng.integers(0, 4, 20), np.zeros(20)) for _ in range(10)]
    demonstrations = Demonstrations.from_episodes("Rooms-v0", env.observation_space, env.action_space, noise)
    report = pretrain(ppo(env), demonstrations, PretrainConfig(learning_rate=1e-2, patience=5))
    assert report.epochs < 50
    # Guessing blindly costs ln 4.
    assert report.held_out_loss < np.log(4) + 0.05


@pytest.mark.parametrize(
    ("observation_space", "policy"),
    [
        (spaces.Box(-1, 1, (2,), np.float32), "MlpPolicy"),
        (spaces.Discrete(2), "MlpPolicy"),
        (spaces.Dict({"way": spaces.Discrete(2), "far": spaces.Box(-1, 1, (3,), np.float32)}), "MultiInputPolicy"),
        (spaces.Box(0, 255, (36, 40, 3), np.uint8), "CnnPolicy"),
    ],
    ids=["vector", "category", "dict", "image"],
)
@pytest.mark.parametrize(
    "action_space",
    [spaces.Discrete(3), spaces.MultiDiscrete([3, 2]), spaces.Box(-2, 2, (2,), np.float32), spaces.MultiBinary(2)],
    ids=["discrete", "multidiscrete", "box", "multibinary"],
)
def test_every_kind_of_space_can_be_imitated(
    observation_space: spaces.Space[Any], policy: str, action_space: spaces.Space[Any]
) -> None:
    env = Rooms(observation_space, action_space)
    observation_space.seed(0)
    action_space.seed(0)
    seen: list[Any] = [observation_space.sample() for _ in range(12)]
    observations: Any = np.stack(seen) if not isinstance(seen[0], dict) else {}
    for name in seen[0] if isinstance(seen[0], dict) else ():
        observations[name] = np.stack([one[name] for one in seen])
    always = np.repeat(np.asarray(action_space.sample())[None], 12, axis=0)
    episode = Episode(observations, always, np.zeros(12))
    demonstrations = Demonstrations.from_episodes("Rooms-v0", observation_space, action_space, [episode, episode])
    model = ppo(env, policy)
    report = pretrain(model, demonstrations, PretrainConfig(max_epochs=60, learning_rate=3e-3))
    np.testing.assert_allclose(model.predict(seen[0], deterministic=True)[0], always[0], atol=0.5)
    assert np.isfinite(report.held_out_loss)
    if not isinstance(action_space, spaces.Box):
        assert report.held_out_accuracy == 1.0


def test_of_a_single_episode_the_last_fifth_is_held_out() -> None:
    env = Rooms(spaces.Box(-1, 1, (1,), np.float32), spaces.Discrete(2))
    # The last fifth does the opposite of what the rest does, so nothing that is learned helps there.
    actions = np.r_[np.zeros(80, np.int64), np.ones(20, np.int64)]
    episode = Episode(np.zeros((100, 1), np.float32), actions, np.zeros(100))
    demonstrations = Demonstrations.from_episodes("Rooms-v0", env.observation_space, env.action_space, [episode])
    report = pretrain(ppo(env), demonstrations, PretrainConfig(patience=3))
    assert report.epochs == 3
    assert report.held_out_loss == pytest.approx(np.log(2), abs=0.05)


def test_demonstrations_of_another_environment_are_refused_before_anything_changes() -> None:
    model = ppo(gym.make("CartPole-v1"))
    before = [parameter.detach().clone() for parameter in model.policy.parameters()]
    with pytest.raises(ValueError, match=f"recorded in {DRIVING}, whose observation space is Box.*here it is Box"):
        pretrain(model, from_expert(EnvironmentRef(DRIVING, {"horizon": 5}), episodes=2, seed=0))
    assert all(torch.equal(old, new) for old, new in zip(before, model.policy.parameters(), strict=True))


def test_a_policy_that_sees_standardised_observations_imitates_by_those_of_the_demonstrations() -> None:
    env = VecNormalize(DummyVecEnv([lambda: gym.make("CartPole-v1")]))
    model = PPO("MlpPolicy", env, device="cpu", seed=0)
    demonstrations = cartpole_demonstrations(8)
    report = pretrain(model, demonstrations)
    assert report.held_out_accuracy is not None and report.held_out_accuracy > 0.8
    statistics: Any = env.obs_rms
    observations: Any = demonstrations.observations
    assert np.allclose(statistics.mean, observations.mean(axis=0), atol=0.01)


@pytest.mark.parametrize(
    "algorithm, policy, said",
    [(DQN, "MlpPolicy", "does not give the likelihood"), (RecurrentPPO, "MlpLstmPolicy", "acts by its memory as well")],
)
def test_policies_that_cannot_imitate_are_refused(algorithm: Any, policy: str, said: str) -> None:
    model = algorithm(policy, gym.make("CartPole-v1"), device="cpu")
    with pytest.raises(ValueError, match=f"{algorithm.__name__} cannot be pretrained: .*{said}"):
        pretrain(model, cartpole_demonstrations(1))


def test_a_single_step_cannot_be_imitated() -> None:
    env = Rooms(spaces.Box(-1, 1, (1,), np.float32), spaces.Discrete(2))
    step = Episode(np.zeros((1, 1), np.float32), np.zeros(1), np.zeros(1))
    demonstrations = Demonstrations.from_episodes("Rooms-v0", env.observation_space, env.action_space, [step])
    with pytest.raises(ValueError, match="at least 2 steps of demonstrations"):
        pretrain(ppo(env), demonstrations)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"max_epochs": 0}, "max_epochs must be at least 1, not 0"),
        ({"held_out_share": 1.0}, "held_out_share must be a share between 0 and 1"),
        ({"smallest_std": 0.0}, "smallest_std must be a number above 0"),
        ({"entropy_bonus": -1.0}, "entropy_bonus must be at least 0"),
    ],
)
def test_a_setting_out_of_range_is_refused(setting: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        PretrainConfig(**setting)
