"""Runs of every learner go on after a kill as if nothing had happened, replay buffer, memory and noise included."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import VecNormalize

from agents.checkpoint import Checkpoints
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.learners import find_learner
from rlhf_envs.learners.normaliser import normalised
from rlhf_envs.learners.replay import restore_replay, save_replay
from rlhf_envs.sb3 import EnvironmentRewardCallback, make_vec_env
from rlhf_envs.sb3.simulator_states import is_known, read, write
from tests.agents.test_resuming import Run, answers, policy, progress
from tests.trainer import Trainer

OFF_POLICY = ["--learner.buffer-size", "300", "--learner.batch-size", "16", "--learner.learning-starts", "40"]
RUNS: dict[str, list[str]] = {
    "sac": [*OFF_POLICY, "--learner.normalize-observations"],
    "td3": [*OFF_POLICY, "--learner.num-envs", "2", "--learner.action-noise", "ornstein-uhlenbeck"],
    "tqc": [*OFF_POLICY, "--learner.use-sde", "--learner.train-freq", "8", "--learner.n-quantiles", "5"],
    "dqn": [*OFF_POLICY, "--learner.gamma", "0.9"],
    "recurrent-ppo": [
        *("--learner.num-envs", "2", "--learner.n-steps", "32", "--learner.batch-size", "32"),
        *("--learner.n-epochs", "1", "--learner.lstm-hidden-size", "8", "--learner.normalize-observations"),
    ],
}

KILLS = {
    "sac": ("stable_baselines3.SAC.train", 250, 300),
    "td3": ("stable_baselines3.TD3.train", 120, 150),
    "tqc": ("sb3_contrib.TQC.train", 40, 50),
    "dqn": ("stable_baselines3.DQN.train", 60, 80),
    "recurrent-ppo": ("sb3_contrib.RecurrentPPO.train", 5, 6),
}


@pytest.mark.slow
@pytest.mark.parametrize("learner", RUNS)
def test_a_killed_run_ends_with_the_numbers_of_an_undisturbed_one(learner: str, tmp_path: Path) -> None:
    env = "CartPole-v1" if learner == "dqn" else "Pendulum-v1"
    common = [
        *(
            "--learner",
            learner,
            "--timesteps",
            "900",
            "--answers",
            "24",
            "--segment-length",
            "6",
            "--visit-every",
            "90",
        ),
        *(
            "--settings",
            "defaults",
            "--checkpoint-seconds",
            "0.2",
            "--evaluation-episodes",
            "2",
            "--learner.net-arch",
            "8",
        ),
        *("--ensemble.hidden", "8", "--ensemble.members", "2", "--fit.steps", "10", "--feedback", "boltzmann"),
    ]
    with Trainer() as trainer:
        runs = []
        for name in ("killed", "undisturbed"):
            (tmp_path / name).mkdir()
            run = Run(trainer, tmp_path / name, "rlhf/Driving-v1")
            run.first = ["--run-dir", str(run.path), "--env", env, *common, *RUNS[learner]]
            runs.append(run)
        killed, undisturbed = runs
        # The buffer of 300 transitions has been written over before the second kill.
        place, first, second = KILLS[learner]
        killed.die(place, first)
        killed.die(place, second, "before")
        killed.finish()
        undisturbed.finish()
    assert answers(killed) == answers(undisturbed) and len(answers(killed)) == 24
    assert progress(killed) == progress(undisturbed)
    ours, theirs = policy(killed), policy(undisturbed)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert (killed.path / "reward_model.safetensors").read_bytes() == (
        undisturbed.path / "reward_model.safetensors"
    ).read_bytes()


def collected(steps: int, folder: Path, buffer_size: int = 40) -> Any:
    """A model that has collected so many steps of two copies, in a folder that a checkpoint could have."""
    learner = find_learner("sac")
    settings = replace(learner.settings_class(), num_envs=2, buffer_size=2 * buffer_size, learning_starts=10_000)
    env = make_vec_env("Pendulum-v1", 2, hide_reward=False)
    model: Any = learner.build(env, settings, seed=0)
    model.learn(2 * steps)
    return model


def contents(model: Any) -> dict[str, Any]:
    buffer = model.replay_buffer
    names = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts", "pos", "full")
    return {name: np.array(getattr(buffer, name)) for name in names}


def test_transitions_are_written_once_and_files_stay_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Blocks of 7 steps of two copies: they do not divide the ring of 40 steps, nor the checkpoints.
    step = 2 * (3 * 4 + 3 * 4 + 4 + 4 + 4)
    monkeypatch.setattr("rlhf_envs.learners.replay._BLOCK_BYTES", 7 * step)
    model = collected(5, tmp_path)
    written: dict[str, int] = {}
    for steps in (5, 30, 41, 44, 90, 200):
        if steps > 5:
            model.learn(2 * steps - model.num_timesteps, reset_num_timesteps=False)
        folder = tmp_path / f"{2 * steps:012d}"
        folder.mkdir()
        save_replay(model, folder)
        for path in (tmp_path / "replay").iterdir():
            assert written.setdefault(path.name, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
        other: Any = collected(1, tmp_path)
        restore_replay(other, folder)
        ours, theirs = contents(other), contents(model)
        filled = slice(None) if theirs["full"] else slice(int(theirs["pos"]))
        for name in ours:
            part = ... if ours[name].ndim == 0 else filled
            assert np.array_equal(ours[name][part], theirs[name][part]), name
        for old in sorted(path for path in tmp_path.iterdir() if path.name.isdigit())[:-2]:
            for file in old.iterdir():
                file.unlink()
            old.rmdir()
    # Blocks that were overwritten between two checkpoints have never been files.
    assert len(written) == 17
    assert len(list((tmp_path / "replay").iterdir())) <= 40 // 7 + 2 + (200 - 90) // 7


def test_blocks_from_after_the_checkpoint_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlhf_envs.learners.replay._BLOCK_BYTES", 1)
    model = collected(3, tmp_path)
    early, late = tmp_path / "000000000006", tmp_path / "000000000020"
    for folder in (early, late):
        folder.mkdir()
        save_replay(model, folder)
        model.learn(14, reset_num_timesteps=False)
    restore_replay(model, early)
    assert [path.stem for path in sorted((tmp_path / "replay").iterdir())] == [f"{n:012d}" for n in range(3)]
    (tmp_path / "replay" / f"{1:012d}.safetensors").unlink()
    with pytest.raises(OSError):
        restore_replay(model, early)


@pytest.mark.parametrize(
    "id", ["CartPole-v1", "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1"]
)
@pytest.mark.parametrize("on_termination", ["terminate", "restart"])
def test_classic_control_goes_on_exactly_from_its_state(id: str, on_termination: str) -> None:
    ref = EnvironmentRef(id, horizon=60, on_termination=on_termination)
    env, other = ref.make(), ref.make()
    env.reset(seed=4)
    env.action_space.seed(4)
    actions = [env.action_space.sample() for _ in range(200)]

    def play(env: gym.Env[Any, Any], actions: list[Any]) -> list[Any]:
        seen = []
        for action in actions:
            observation, reward, terminated, truncated, _ = env.step(action)
            seen.append((observation.tolist(), float(reward), terminated, truncated))
            if terminated or truncated:
                seen.append(env.reset()[0].tolist())
        return seen

    play(env, actions[:37])
    assert is_known(env)
    state = read([env])
    other.reset(seed=9)
    write([other], state)
    assert play(other, actions[37:]) == play(env, actions[37:])


def test_environments_with_state_that_nobody_knows_are_not_known() -> None:
    assert not is_known(gym.wrappers.NormalizeReward(gym.make("Pendulum-v1")))
    assert not make_vec_env("MountainCar-v0", 2, wrappers=["gymnasium.wrappers:NormalizeReward"]).can_restore
    assert make_vec_env("MountainCar-v0", 2).can_restore


def test_normalised_observations_go_on_from_their_statistics(tmp_path: Path) -> None:
    learner = find_learner("ppo")
    small = {"num_envs": 2, "n_steps": 16, "batch_size": 32, "n_epochs": 1, "net_arch": (8,)}
    settings = replace(learner.settings_class(), normalize_observations=True, normalize_rewards=True, **small)
    models = []
    for _ in range(2):
        env = make_vec_env("Pendulum-v1", 2, hide_reward=False)
        models.append((env, learner.build(normalised(env, settings, rewards=True), settings, seed=0)))
    (env, model), (_, other) = models
    model.learn(64, callback=EnvironmentRewardCallback(env))
    checkpoints = [Checkpoints(tmp_path, learner, each, EnvironmentRewardCallback(own), {}) for own, each in models]
    checkpoints[0].save()
    assert checkpoints[1].restore()
    for each in (model, other):
        assert isinstance(each.get_vec_normalize_env(), VecNormalize)
    ours: Any = other.get_vec_normalize_env()
    theirs: Any = model.get_vec_normalize_env()
    assert np.array_equal(ours.obs_rms.mean, theirs.obs_rms.mean) and ours.obs_rms.count == theirs.obs_rms.count
    assert ours.ret_rms.var == theirs.ret_rms.var and np.array_equal(ours.returns, theirs.returns)
    assert np.array_equal(other._last_obs, model._last_obs)  # type: ignore[arg-type]
    action = np.zeros((2, 1), np.float32)
    assert np.array_equal(ours.step(action)[0], theirs.step(action)[0])
