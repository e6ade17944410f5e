"""From an environment's id to a VecEnv whose true reward is hidden."""

import logging
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray
from stable_baselines3 import PPO

from rlhf_envs.clips import clip_painter
from rlhf_envs.copies import CopiesInProcesses, SeparateCopies
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.feedback.guidance import guidance
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.sb3 import PreferenceCallback, VectorEnvBridge, make_vec_env, vec_env
from tests.sb3 import environments

environments.register()


@pytest.mark.parametrize(
    "env, kwargs, policy",
    [
        ("rlhf/Driving-v1", {"horizon": 20}, "MlpPolicy"),
        ("rlhf/Recommender-v1", {"horizon": 20}, "MlpPolicy"),
        ("CartPole-v1", {}, "MlpPolicy"),
        ("Pendulum-v1", {}, "MlpPolicy"),
        ("test/Walk-v0", {"kind": "dict"}, "MultiInputPolicy"),
        ("test/Walk-v0", {"kind": "image"}, "CnnPolicy"),
        ("tests.sb3.environments:test/Walk-v0", {}, "MlpPolicy"),
    ],
)
def test_ppo_learns_from_preferences_on_every_kind_of_environment(
    env: str, kwargs: dict[str, Any], policy: str, tmp_path: Any
) -> None:
    venv = make_vec_env(EnvironmentRef(env, kwargs), 4)
    model = PPO(policy, venv, n_steps=32, batch_size=64, n_epochs=1, device="cpu")
    callback = PreferenceCallback(venv, tmp_path / "feedback.db", FeedbackConfig(answers=9, segment_length=5))
    model.learn(256, callback=callback)
    assert callback.loop.progress.asked == 9
    assert len(callback.loop.dataset) > 0
    assert np.isfinite(callback.last_scores).all() and callback.last_scores.std() > 0
    callback.loop.store.close()
    venv.close()


@pytest.mark.parametrize("env", ["rlhf/Driving-v1", "CartPole-v1", "tests.sb3.environments:test/Walk-v0"])
def test_people_can_be_shown_what_ones_own_script_asks(env: str, tmp_path: Any) -> None:
    kwargs = {"horizon": 20} if env.startswith("rlhf/") else {}
    venv = make_vec_env(EnvironmentRef(env, kwargs), 4, frames=True)
    model = PPO("MlpPolicy", venv, n_steps=32, batch_size=64, n_epochs=1, device="cpu")
    feedback = FeedbackConfig(answers=4, segment_length=5, rubric="Which one is calmer?")
    callback = PreferenceCallback(venv, tmp_path / "feedback.db", feedback)
    model.learn(128, callback=callback)
    store = callback.loop.store
    assert guidance(store.environment).rubric == "Which one is calmer?"
    painter = clip_painter(EnvironmentRef(env, kwargs), (120, 80))
    frames = painter.frames(store.queries()[0].segments[0])
    assert len(frames) >= 5 and frames[0].std() > 0
    store.close()
    venv.close()


def test_the_true_reward_is_paid_to_nobody_and_told_in_the_infos() -> None:
    hidden, plain = make_vec_env("CartPole-v1", 2, seed=3), gym.make("CartPole-v1")
    hidden.reset()
    plain.reset(seed=3)
    for _ in range(5):
        _, rewards, _, infos = hidden.step(np.array([0, 1]))
        _, paid, *_ = plain.step(0)
        assert rewards.tolist() == [0.0, 0.0]
        assert infos[0]["true_reward"] == paid == 1.0


def test_copies_of_the_suite_start_from_seeds_in_a_row_and_apart_in_time() -> None:
    venv = make_vec_env(EnvironmentRef("rlhf/Driving-v1", {"horizon": 40}), 4, seed=10, stagger=True)
    first: Any = venv.reset()
    scalar = gym.make("rlhf/Driving-v1", horizon=40)
    assert np.array_equal(first[0], scalar.reset(seed=10)[0])
    ends: list[int] = []
    for step in range(40):
        *_, dones, _ = venv.step(np.zeros((4, 2), np.float32))
        ends += [step] * int(dones.sum())
    assert ends == [9, 19, 29, 39]
    even = make_vec_env(EnvironmentRef("rlhf/Driving-v1", {"horizon": 40}), 4, stagger=False)
    even.reset()
    assert not any(even.step(np.zeros((4, 2), np.float32))[2].any() for _ in range(39))
    assert even.step(np.zeros((4, 2), np.float32))[2].all()


def test_the_last_observation_of_an_episode_is_told_apart_from_the_first_of_the_next() -> None:
    venv = make_vec_env(EnvironmentRef("rlhf/Driving-v1", {"horizon": 5}), 2, stagger=False)
    venv.reset()
    for _ in range(5):
        shown: Any
        shown, _, dones, infos = venv.step(np.ones((2, 2), np.float32))
    assert dones.all()
    for row in range(2):
        assert infos[row]["TimeLimit.truncated"]
        assert not np.array_equal(infos[row]["terminal_observation"], shown[row])


def test_an_environment_that_inserts_steps_is_refused() -> None:
    env = SyncVectorEnv([lambda: gym.make("CartPole-v1")], autoreset_mode=AutoresetMode.NEXT_STEP)
    with pytest.raises(ValueError, match=r"make it with autoreset_mode=AutoresetMode\.SAME_STEP"):
        VectorEnvBridge(env)
    env.close()


def lengths(venv: Any, action: NDArray[Any], episodes: int) -> list[int]:
    venv.reset()
    found: list[int] = []
    length = 0
    while len(found) < episodes:
        length += 1
        if venv.step(action)[2][0]:
            found.append(length)
            length = 0
    return found


def test_episodes_of_other_environments_end_early_unless_they_restart() -> None:
    left = np.array([0])
    ending = make_vec_env("test/Walk-v0", 1)
    found = lengths(ending, left, 3)
    assert max(found) < 30 and ending.horizon == 30
    assert ending.terminates and list(ending.episode_lengths) == found
    assert ending.mean_episode_length == np.mean(found)
    restarting = make_vec_env(EnvironmentRef("test/Walk-v0", on_termination="restart"), 1)
    assert restarting.mean_episode_length == 30
    assert lengths(restarting, left, 3) == [30, 30, 30] and not restarting.terminates


def test_an_end_is_told_apart_from_the_limit_of_steps() -> None:
    venv = make_vec_env("test/Walk-v0", 2)
    venv.reset()
    ended: list[tuple[int, bool]] = []
    for _ in range(30):
        _, _, dones, infos = venv.step(np.array([0, 1]))
        ended += [(row, infos[row]["TimeLimit.truncated"]) for row in np.flatnonzero(dones).tolist()]
    assert (0, False) in ended and (1, True) in ended and (1, False) not in ended
    assert venv.recorder.arrays()["terminated"][:30].sum(axis=0).tolist() == [ended.count((0, False)), 0]


def test_a_horizon_beyond_the_registered_limit_lifts_it() -> None:
    venv = make_vec_env(EnvironmentRef("Pendulum-v1", horizon=230), 1)
    assert venv.horizon == 230
    assert lengths(venv, np.zeros((1, 1)), 1) == [230]


def test_how_episodes_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        make_vec_env("CartPole-v1", 2)
        make_vec_env("rlhf/Driving-v1", 2)
    assert [record.message.partition(":")[0] for record in caplog.records] == ["CartPole-v1"]
    assert "Episodes end when the environment ends them, after 500 steps at the latest." in caplog.text
    with caplog.at_level(logging.INFO):
        make_vec_env(EnvironmentRef("CartPole-v1", on_termination="restart"), 2)
    assert "held to 500 steps" in caplog.text


@pytest.mark.parametrize(
    "env, arguments, copies, said",
    [
        ("CartPool-v1", {}, 2, "Did you mean CartPole-v1"),
        ("mine/Point-v0", {}, 2, "'mine/Point-v0'. If another package registers it"),
        ("minigrid:Point-v0", {}, 2, "minigrid does not register it"),
        ("no_such_package:CartPole-v1", {}, 2, "cannot be imported"),
        ("test/Endless-v0", {}, 2, "test/Endless-v0 was registered without a limit .* --horizon N"),
        ("CartPole-v1", {"horizon": 0}, 2, "at least 1 step, not 0"),
        ("CartPole-v1", {"on_termination": "explode"}, 2, "terminate, restart"),
        ("rlhf/Driving-v1", {"horizon": 10}, 2, "an argument of its own"),
        ("CartPole-v1", {}, 0, "at least 1, not 0"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_sentence(
    env: str, arguments: dict[str, Any], copies: int, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        make_vec_env(EnvironmentRef(env, **arguments), copies)


def test_a_scalar_environment_has_the_same_length_of_episodes() -> None:
    env: Any = EnvironmentRef("test/Endless-v0", horizon=12).make()
    env.reset(seed=0)
    assert [env.step(0)[3] for _ in range(12)] == [False] * 11 + [True]


def test_copies_in_processes_of_their_own_do_the_same() -> None:
    apart: Any = make_vec_env("CartPole-v1", 2, seed=5, processes=True, capacity_steps=8)
    together: Any = make_vec_env("CartPole-v1", 2, seed=5, capacity_steps=8)
    assert np.array_equal(apart.reset(), together.reset())
    for _ in range(4):
        assert np.array_equal(apart.step(np.array([0, 1]))[0], together.step(np.array([0, 1]))[0])
    assert apart.horizon == together.horizon == 500
    apart.close()


WALK = "tests.sb3.environments:test/Walk-v0"
SLOW = 'scripts.benchmarks.copies:Burn={"milliseconds": 3}'


def test_slow_copies_run_in_processes_where_nothing_is_lost_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vec_env, "usable_cores", lambda: 4)
    slow: Any = make_vec_env(WALK, 3, seed=5, processes=None, wrappers=SLOW)
    one_by_one: Any = make_vec_env(WALK, 3, seed=5, wrappers=SLOW)
    try:
        assert isinstance(slow.env.unwrapped, CopiesInProcesses)
        assert isinstance(one_by_one.env.unwrapped, SeparateCopies)
        assert "3 copies run in processes of their own; --processes False" in slow.notes[-1]
        assert np.array_equal(slow.reset(), one_by_one.reset())
        for _ in range(3):
            actions = np.array([one_by_one.action_space.sample() for _ in range(3)])
            assert np.array_equal(slow.step(actions)[0], one_by_one.step(actions)[0])
    finally:
        slow.close()
        one_by_one.close()


@pytest.mark.parametrize("env, wrappers", [(WALK, ()), ("CartPole-v1", SLOW), ("rlhf/Driving-v1", ())])
def test_fast_copies_and_those_whose_states_are_recorded_stay_in_this_process(
    env: str, wrappers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vec_env, "usable_cores", lambda: 4)
    made: Any = make_vec_env(env, 3, processes=None, wrappers=wrappers)
    assert not isinstance(made.env.unwrapped, CopiesInProcesses)
    made.close()


def test_processes_pay_where_steps_are_slow_and_there_are_cores() -> None:
    assert vec_env.processes_pay(8, step_seconds=5e-3, cores=2)
    assert not vec_env.processes_pay(8, step_seconds=5e-3, cores=1)
    assert not vec_env.processes_pay(1, step_seconds=5e-3, cores=64)
    assert not vec_env.processes_pay(64, step_seconds=5e-5, cores=64)
