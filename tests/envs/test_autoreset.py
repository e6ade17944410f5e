"""Environments of the suite under Gymnasium's modes of autoreset, with its wrappers and with other libraries."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import vector as wrappers
from sb3_contrib import ARS, QRDQN, TQC, TRPO, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecFrameStack, VecMonitor, VecNormalize

import rlhf_envs
from rlhf_envs.clips.frames import encode_mp4
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.sb3 import make_vec_env as make_preference_env
from rlhf_envs.testing.checks import same

assert rlhf_envs
HORIZON = 7
MODES = list(AutoresetMode)


def batch(mode: AutoresetMode | str, id: str = "rlhf/Driving-v1", copies: int = 3, **options: Any) -> VectorEnv:
    return gym.make_vec(id, num_envs=copies, autoreset_mode=mode, horizon=HORIZON, **options)


@pytest.mark.parametrize("id", ["rlhf/Driving-v1", "rlhf/Recommender-v1", "rlhf/Headset-v1"])
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_does_what_gymnasium_does_with_single_copies(mode: AutoresetMode, id: str) -> None:
    together = batch(mode, id)
    apart = SyncVectorEnv([lambda: gym.make(id, horizon=HORIZON)] * 3, autoreset_mode=mode)
    together.action_space.seed(5)
    assert together.metadata["autoreset_mode"] is mode
    assert same(together.reset(seed=11)[0], apart.reset(seed=11)[0])
    # One copy is reset on its own, so that later not all episodes end at once.
    mask = np.array([False, True, False])
    for step in range(4 * HORIZON):
        if step == 3:
            first, second = (env.reset(options={"reset_mask": mask.copy()})[0] for env in (together, apart))
            assert same(first, second)
        actions = together.action_space.sample()
        ours, theirs = together.step(actions), apart.step(actions)
        for part in range(4):
            assert same(ours[part], theirs[part].astype(ours[part].dtype)), (step, part)
        acted = theirs[4].get("_true_reward", np.zeros(3, np.bool_))
        if mode is not AutoresetMode.SAME_STEP:
            assert np.array_equal(ours[4]["_true_reward"], acted)
            assert np.allclose(ours[4]["true_reward"][acted], theirs[4]["true_reward"][acted])
        ended = ours[3].copy()
        assert ("final_obs" in ours[4]) == ("final_obs" in theirs[4])
        if mode is AutoresetMode.DISABLED and ended.any():
            first, second = (env.reset(options={"reset_mask": ended.copy()})[0] for env in (together, apart))
            assert same(first, second)


def test_in_disabled_mode_an_ended_copy_has_to_be_reset() -> None:
    env = batch("Disabled")
    env.reset(seed=0)
    for _ in range(HORIZON):
        env.step(env.action_space.sample())
    with pytest.raises(gym.error.ResetNeeded, match=r"The episodes of the copies \[0, 1, 2\] have ended"):
        env.step(env.action_space.sample())


def test_another_mode_is_refused_where_it_is_given_and_where_segments_are_recorded() -> None:
    with pytest.raises(ValueError, match="autoreset_mode must be one of 'NextStep', 'SameStep', 'Disabled', not 'No'"):
        batch("No")
    with pytest.raises(ValueError, match=r"make it with autoreset_mode=AutoresetMode\.SAME_STEP"):
        make_preference_env(EnvironmentRef("rlhf/Driving-v1", {"autoreset_mode": "NextStep"}), 2)


WRAPPERS: dict[str, tuple[AutoresetMode, Callable[[VectorEnv], VectorEnv]]] = {
    "RecordEpisodeStatistics": (AutoresetMode.SAME_STEP, wrappers.RecordEpisodeStatistics),
    "RecordEpisodeStatistics, next step": (AutoresetMode.NEXT_STEP, wrappers.RecordEpisodeStatistics),
    "NormalizeObservation": (AutoresetMode.NEXT_STEP, wrappers.NormalizeObservation),
    "NormalizeReward": (AutoresetMode.NEXT_STEP, lambda env: wrappers.NormalizeReward(env, 0.9)),
    "NormalizeReward, same step": (AutoresetMode.SAME_STEP, lambda env: wrappers.NormalizeReward(env, 0.9)),
    "ClipReward": (AutoresetMode.SAME_STEP, lambda env: wrappers.ClipReward(env, -0.1, 0.1)),
    "RescaleObservation": (AutoresetMode.NEXT_STEP, lambda env: wrappers.RescaleObservation(env, 0, 1)),
    "FlattenObservation": (AutoresetMode.NEXT_STEP, wrappers.FlattenObservation),
    "ClipAction": (AutoresetMode.SAME_STEP, wrappers.ClipAction),
    "RescaleAction": (AutoresetMode.SAME_STEP, lambda env: wrappers.RescaleAction(env, -2, 2)),
    "DictInfoToList": (AutoresetMode.NEXT_STEP, wrappers.DictInfoToList),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_gymnasiums_vector_wrappers_go_around_our_environments(name: str) -> None:
    mode, wrap = WRAPPERS[name]
    env = wrap(batch(mode))
    env.reset(seed=0)
    env.action_space.seed(0)
    returns = []
    for _ in range(2 * HORIZON + 2):
        actions: Any = env.action_space.sample()
        observations, rewards, _, truncated, info = env.step(actions)
        assert len(observations) == len(rewards) == 3 and bool(np.isfinite(np.asarray(rewards)).all())
        if name.startswith("RecordEpisodeStatistics") and np.asarray(truncated).any():
            statistics = info["episode"]
            assert statistics["l"].tolist() == [HORIZON] * 3
            returns.append(statistics["r"])
    if name.startswith("RecordEpisodeStatistics"):
        assert len(returns) == 2 and np.isfinite(returns).all()
    env.close()


def test_episodes_are_filmed_by_gymnasium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for MoviePy, of which only the call that writes a film is used."""
    for name in ("moviepy", "moviepy.video", "moviepy.video.io"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    writer: Any = ModuleType("moviepy.video.io.ImageSequenceClip")
    writer.ImageSequenceClip = Film
    monkeypatch.setitem(sys.modules, writer.__name__, writer)
    env = gym.wrappers.RecordVideo(
        gym.make("rlhf/Driving-v1", render_mode="rgb_array", horizon=HORIZON),
        str(tmp_path / "one"),
        lambda episode: True,
    )
    env.reset(seed=0)
    for _ in range(HORIZON):
        env.step(env.action_space.sample())
    env.close()
    assert [path.name for path in (tmp_path / "one").glob("*.mp4")] == ["rl-video-episode-0.mp4"]
    many, folder = batch(AutoresetMode.NEXT_STEP, render_mode="rgb_array"), tmp_path / "all"
    together = wrappers.RecordVideo(many, str(folder), episode_trigger=lambda episode: True)
    together.reset(seed=0)
    for _ in range(HORIZON):
        together.step(together.action_space.sample())
    together.close()
    assert list(folder.glob("*.mp4"))


class Film:
    """What Gymnasium writes films with."""

    def __init__(self, frames: list[Any], fps: float) -> None:
        self.frames, self.fps = np.stack(frames), fps

    def write_videofile(self, path: str, logger: Any) -> None:
        """Encode it."""
        encode_mp4(self.frames, path, self.fps)


def test_stable_baselines3_makes_normalises_stacks_and_evaluates_our_environments(tmp_path: Path) -> None:
    kwargs = {"horizon": HORIZON}
    env = VecFrameStack(VecNormalize(make_vec_env("rlhf/Driving-v1", 2, env_kwargs=kwargs)), 2)
    held_out = VecFrameStack(VecNormalize(make_vec_env("rlhf/Driving-v1", 1, env_kwargs=kwargs), training=False), 2)
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=32, n_epochs=1, device="cpu")
    evaluation = EvalCallback(held_out, eval_freq=16, n_eval_episodes=2, log_path=str(tmp_path), verbose=0)
    model.learn(64, callback=evaluation)
    assert np.isfinite(evaluation.last_mean_reward)
    assert model.ep_info_buffer and {info["l"] for info in model.ep_info_buffer} == {HORIZON}


def test_stable_baselines3_normalises_and_monitors_the_environment_that_hides_the_reward() -> None:
    env = VecNormalize(VecMonitor(make_preference_env(EnvironmentRef("rlhf/Driving-v1", {"horizon": HORIZON}), 2)))
    A2C("MlpPolicy", env, n_steps=8, device="cpu").learn(64)
    assert np.isfinite(env.obs_rms.mean).all()  # type: ignore[union-attr]


SMALL = {"device": "cpu", "seed": 0}
ALGORITHMS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "TQC": ("rlhf/Driving-v1", lambda env: TQC("MlpPolicy", env, learning_starts=8, batch_size=8, **SMALL)),
    "QRDQN": ("rlhf/Support-v1", lambda env: QRDQN("MlpPolicy", env, learning_starts=8, batch_size=8, **SMALL)),
    "TRPO": ("rlhf/Driving-v1", lambda env: TRPO("MlpPolicy", env, n_steps=16, batch_size=16, **SMALL)),
    "ARS": ("rlhf/Driving-v1", lambda env: ARS("LinearPolicy", env, n_delta=1, n_eval_episodes=1, **SMALL)),
    "RecurrentPPO": (
        "rlhf/Driving-v1",
        lambda env: RecurrentPPO("MlpLstmPolicy", env, n_steps=8, batch_size=8, n_epochs=1, **SMALL),
    ),
    "MaskablePPO": (
        "rlhf/Support-v1",
        lambda env: MaskablePPO("MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=1, **SMALL),
    ),
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_algorithms_of_sb3_contrib_train_on_our_environments(name: str) -> None:
    id, build = ALGORITHMS[name]
    model = build(make_vec_env(id, 2, env_kwargs={"horizon": HORIZON}))
    model.learn(32, **({"use_masking": False} if name == "MaskablePPO" else {}))
    assert model.num_timesteps >= 32
    action, _ = model.predict(model.get_env().reset())
    assert len(action) == 2
