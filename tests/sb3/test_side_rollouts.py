"""Rollouts beside the training: variants and perturbed actions, which leave no trace in it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.vec_env import VecNormalize

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.feedback import PreferenceStore
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.rewards import EnsembleConfig
from rlhf_envs.sb3 import HeldActions, PreferenceCallback, PreferenceVecEnv, SideRollouts, make_vec_env
from tests.sb3 import environments

environments.register()

DRIVING = EnvironmentRef("rlhf/Driving-v1", {"horizon": 30})
LENGTH = 5


def driving(copies: int = 2) -> PreferenceVecEnv:
    return make_vec_env(DRIVING, copies)


def everything(side: SideRollouts) -> list[NDArray[Any]]:
    return [array.copy() for array in side.recorder.latest()]  # type: ignore[union-attr]


@pytest.mark.parametrize("held", [0.0, 0.5])
def test_a_round_can_be_played_again(held: float) -> None:
    env = driving()
    model = PPO("MlpPolicy", env, device="cpu", seed=1)
    sides = [SideRollouts(env, LENGTH, seed=3, held_action_share=held, copies=4) for _ in range(2)]
    sides[0].play(model, 0)
    other = everything(sides[0])
    sides[0].play(model, 7)
    torch.rand(3)
    sides[1].play(model, 7)
    assert all(np.array_equal(*pair) for pair in zip(everything(sides[0]), everything(sides[1]), strict=True))
    assert not np.array_equal(other[0], everything(sides[0])[0])


@pytest.mark.parametrize("algorithm", [PPO, SAC, DQN])
def test_training_is_the_same_with_rollouts_beside_it(algorithm: Any) -> None:
    discrete = algorithm is DQN
    env = make_vec_env("CartPole-v1" if discrete else DRIVING, 2)
    model = algorithm("MlpPolicy", env, device="cpu", seed=1)
    model.action_space.seed(1)

    def drawn() -> tuple[float, float, Any]:
        return float(torch.rand(1)), float(np.random.rand()), model.action_space.sample().tolist()  # noqa: NPY002

    torch.manual_seed(5), np.random.seed(5)  # noqa: NPY002
    expected = drawn(), drawn()
    torch.manual_seed(5), np.random.seed(5)  # noqa: NPY002
    model.action_space.seed(1)
    first = drawn()
    SideRollouts(env, LENGTH, held_action_share=1.0, copies=2).play(model, 0)
    assert (first, drawn()) == expected


def test_segments_of_every_part_of_an_episode_of_the_variant_can_be_cut() -> None:
    env = driving()
    side = SideRollouts(env, LENGTH, variant={"traffic": "dense"}, copies=3)
    recorder = side.play(PPO("MlpPolicy", env, device="cpu"), 0)
    assert side.environment.kwargs == {"horizon": 30, "traffic": "dense"}
    windows = recorder.sample_windows(500, LENGTH, np.random.default_rng(0))
    assert set(windows.starts) == set(range(30 - LENGTH + 1)) and set(windows.rows) == {0, 1, 2}
    assert recorder.segment(windows, 0).states is not None


def test_a_policy_acts_by_the_observations_that_it_sees_in_training() -> None:
    env = driving()
    model = PPO("MlpPolicy", VecNormalize(env), device="cpu")
    model.get_vec_normalize_env().obs_rms.mean[:] = 7.0
    seen = []
    predict = model.predict
    model.predict = lambda observation, **given: seen.append(observation) or predict(observation, **given)
    recorder = SideRollouts(env, LENGTH, copies=2).play(model, 0)
    shown = recorder.latest()[0].reshape(30, 2, -1)
    assert np.allclose(np.stack(seen), np.clip(shown - 7.0, -10, 10), atol=1e-3)


@pytest.mark.parametrize(
    "space", [spaces.Box(-2, 3, (4,), np.float32), spaces.MultiDiscrete([3, 5, 2, 4]), spaces.Discrete(6, start=2)]
)
def test_one_component_is_held_for_stretches_while_the_policy_acts_in_the_others(space: spaces.Space[Any]) -> None:
    rng = np.random.default_rng(0)
    held = HeldActions(space, 40, 0.3, 10, rng)
    policy = -np.ones((40, *(space.shape or ())))
    actions = np.stack([held(policy).reshape(40, -1) for _ in range(500)])
    changed = actions != -1
    assert changed.any(axis=2).mean() == pytest.approx(0.3, abs=0.03)
    assert (changed.sum(axis=2) <= 1).all()
    lengths = []
    for row in range(40):
        stretches = np.flatnonzero(np.diff(actions[:, row], axis=0).any(axis=1))
        lengths += np.diff(stretches).tolist()
    assert 8 < np.mean(lengths) < 30
    values = actions[changed]
    assert len(np.unique(values)) > 3 or space.shape == ()
    if isinstance(space, spaces.Discrete):
        assert set(values) <= set(range(2, 8)) and len(set(values)) == 6


def test_actions_are_held_nowhere_or_everywhere() -> None:
    space = spaces.Discrete(3)
    policy = np.full(20, -1)
    for share, expected in ((0.0, 0), (1.0, 20)):
        held = HeldActions(space, 20, share, 4, np.random.default_rng(0))
        assert all((held(policy) >= 0).sum() == expected for _ in range(30))


def test_forbidden_choices_are_never_held() -> None:
    space = spaces.MultiDiscrete([2, 3])
    held = HeldActions(space, 50, 1.0, 3, np.random.default_rng(0))
    masks = np.tile([True, False, True, False, True], (50, 1))
    taken = np.stack([held(np.full((50, 2), -1), masks) for _ in range(50)])
    assert set(np.unique(taken[..., 0])) == {-1, 0} and set(np.unique(taken[..., 1])) == {-1, 0, 2}


@pytest.mark.parametrize("kind", ["vector", "dict", "image"])
def test_environments_of_other_people_are_played_with_their_pictures(kind: str) -> None:
    policy = {"vector": "MlpPolicy", "dict": "MultiInputPolicy", "image": "CnnPolicy"}[kind]
    ref = EnvironmentRef("test/Walk-v0", {"kind": kind}, horizon=20)
    env = make_vec_env(ref, 2, frames=True, snapshots=False)
    recorder = SideRollouts(env, LENGTH, copies=2).play(PPO(policy, env, device="cpu", n_steps=32), 0)
    windows = recorder.sample_windows(4, LENGTH, np.random.default_rng(0))
    assert len(recorder) == 20 and recorder.segment(windows, 0).frames is not None


def test_forbidden_actions_are_never_taken() -> None:
    # This environment raises if they are.
    env = make_vec_env(EnvironmentRef("tests.cases.environments:odd/Masked-v0"), 2)
    model = MaskablePPO("MlpPolicy", env, device="cpu", n_steps=8)
    recorder = SideRollouts(env, 3, held_action_share=1.0, copies=6).play(model, 0)
    assert len(set(recorder.latest()[1].tolist())) > 1


def test_a_recurrent_policy_forgets_where_an_episode_ends() -> None:
    env = make_vec_env("CartPole-v1", 2)
    model = RecurrentPPO("MlpLstmPolicy", env, device="cpu", n_steps=8)
    begun = []
    predict = model.predict
    model.predict = lambda *given, **more: begun.append(more["episode_start"].copy()) or predict(*given, **more)
    recorder = SideRollouts(env, LENGTH, copies=2).play(model, 0)
    starts = np.stack(begun)
    assert starts[0].all() and 0 < starts[1:].mean() < 0.2 and len(recorder) == len(starts)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"variant": {"traffic": "dens"}}, "traffic must be one of"),
        ({"variant": {"horizon": 3}}, "in which no segment of 5 fits"),
        ({"variant": {"objective": "proxy"}}, "Leave objective out"),
        ({"held_action_share": 1.5}, "share from 0 to 1"),
    ],
)
def test_what_cannot_be_played_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SideRollouts(driving(), LENGTH, **settings)


def test_a_variant_with_other_spaces_is_refused() -> None:
    env = make_vec_env(EnvironmentRef("test/Walk-v0", {"kind": "vector"}), 2)
    with pytest.raises(ValueError, match="a variant has the same spaces"):
        SideRollouts(env, LENGTH, variant={"kind": "image"})


def asked_with(variant: dict[str, Any], folder: Path, env: str = "rlhf/Headset-v1", **settings: Any) -> PreferenceStore:
    venv = make_vec_env(EnvironmentRef(env, {"horizon": 40}), 8)
    model = PPO("MlpPolicy", venv, n_steps=64, batch_size=64, n_epochs=1, device="cpu", seed=0)
    feedback = FeedbackConfig(answers=12, segment_length=LENGTH, variant=(variant,), **settings)
    callback = PreferenceCallback(venv, folder / "feedback.db", feedback, ensemble=EnsembleConfig(2, (8,)))
    model.learn(1024, callback=callback)
    return callback.loop.store


def test_variants_are_asked_about_and_shown_as_they_look(tmp_path: Path) -> None:
    with asked_with({"scene": "gorge"}, tmp_path, variant_share=0.5) as store:
        segments = [segment for query in store.queries() for segment in query.segments]
    pictures = [segment.frames for segment in segments if segment.states is None]
    assert 0.2 < len(pictures) / len(segments) < 0.8
    assert all(frames is not None and frames.shape[0] == LENGTH for frames in pictures)


def test_segments_that_the_environment_of_the_training_draws_rightly_keep_their_states(tmp_path: Path) -> None:
    with asked_with({"traffic": "dense"}, tmp_path, "rlhf/Driving-v1", variant_share=1.0) as store:
        assert all(segment.states is not None for query in store.queries() for segment in query.segments)


def test_with_variants_the_same_is_asked_with_the_same_seed(tmp_path: Path) -> None:
    digests = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        with asked_with({"traffic": "dense"}, tmp_path / name, "rlhf/Driving-v1") as store:
            digests.append([segment.digest for query in store.queries() for segment in query.segments])
    assert len(digests[0]) == 24 and digests[0] == digests[1]
