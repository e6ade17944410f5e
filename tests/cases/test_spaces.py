"""Every space that Gymnasium allows is adapted to what can be learned from, or refused with what would help."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from stable_baselines3 import PPO

from rlhf_envs.environment import EnvironmentRef, WrapperRef
from rlhf_envs.json_values import space_from_json, space_to_json
from rlhf_envs.learners.networks import policy_for
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.rewards import load, save
from rlhf_envs.sb3 import PreferenceCallback, make_vec_env
from rlhf_envs.wrappers import AdaptSpaces, BoundActions, adapt
from rlhf_envs.wrappers.spaces import adapt_actions
from tests.cases import environments

LEARNABLE = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def ref(name: str, **arguments: Any) -> EnvironmentRef:
    return EnvironmentRef(f"tests.cases.environments:odd/{name}-v0", **arguments)


def adapted(name: str) -> Any:
    layer: Any = ref(name).make()
    while not isinstance(layer, AdaptSpaces):
        layer = layer.env
    return layer


@pytest.mark.parametrize("name", [*environments.SHOWN, *environments.TAKEN])
def test_every_space_is_one_that_can_be_learned_from_and_its_values_belong_to_it(name: str) -> None:
    env = ref(name).make()
    parts = env.observation_space.spaces.values() if isinstance(env.observation_space, spaces.Dict) else None
    for part in [*(parts or [env.observation_space]), env.action_space]:
        assert isinstance(part, LEARNABLE) and np.prod(part.shape or (1,)) > 0
        assert not np.any(getattr(part, "start", 0))
        assert isinstance(part, spaces.Discrete) or len(part.shape or ()) >= 1
    env.action_space.seed(1)
    inner: Any = env.unwrapped
    shown = [env.reset(seed=0)[0]]
    for _ in range(20):
        shown.append(env.step(env.action_space.sample())[0])
    assert all(env.observation_space.contains(observation) for observation in shown)
    assert all(inner.action_space.contains(action) for action in inner.actions)
    assert space_from_json(space_to_json(env.observation_space)) == env.observation_space
    assert space_from_json(space_to_json(env.action_space)) == env.action_space


@pytest.mark.parametrize("name", environments.TAKEN)
def test_an_action_of_the_environment_is_one_of_the_adapted_and_back(name: str) -> None:
    space = environments.TAKEN[name]
    space.seed(3)
    adaptation = adapt_actions(space, name)
    assert adaptation.back is not None
    for _ in range(20):
        own = space.sample()
        action = adaptation.forward(own)
        assert adaptation.space.contains(action)
        again = adaptation.back(action)
        for first, second in zip(flat(space, own), flat(space, again), strict=True):
            assert np.allclose(first, second, atol=1e-4)


def flat(space: spaces.Space[Any], value: Any) -> list[Any]:
    if isinstance(space, spaces.Dict):
        return [leaf for key, part in space.spaces.items() for leaf in flat(part, value[key])]
    if isinstance(space, spaces.Tuple):
        return [leaf for part, own in zip(space.spaces, value, strict=True) for leaf in flat(part, own)]
    return [value]


def test_box_actions_span_their_bounds_from_minus_one_to_one() -> None:
    env = adapted("ActAsym")
    assert env.action_space == spaces.Box(-1, 1, (2,), np.float32)
    env.reset(seed=0)
    for action in ([-1, -1], [1, 1], [0, 0], [2, -2]):
        env.step(np.array(action, np.float32))
    assert np.allclose(env.unwrapped.actions, [[0, -100], [1000, 3], [500, -48.5], [1000, -100]])
    whole = adapted("ActWhole")
    whole.reset(seed=0)
    whole.step(np.array([-0.999, 0.999], np.float32))
    assert whole.unwrapped.actions[0].dtype == np.uint8 and whole.unwrapped.actions[0].tolist() == [0, 255]


def test_pictures_in_time_are_channels_and_small_grids_are_symbols() -> None:
    space = environments.SHOWN["StackedPictures"]
    env: Any = gym.Env()
    env.observation_space, env.action_space = space, spaces.Discrete(2)
    stacked: Any = adapt(env, "stacked")
    values = space.sample()
    assert stacked.observation_space == spaces.Box(0, 255, (16, 20, 12), np.uint8)
    read = stacked._shown.forward(values)
    assert all(np.array_equal(read[..., 3 * time : 3 * time + 3], values[time]) for time in range(4))
    assert policy_for(stacked.observation_space)[0] == "CnnPolicy"
    assert adapted("Symbols").observation_space == spaces.Box(0, 255, (147,), np.uint8)
    assert adapted("Rooms").observation_space == spaces.Box(0, 9, (320,), np.uint8)
    assert ref("StackedGray").make().observation_space == environments.SHOWN["StackedGray"]
    assert adapted("GrayPicture").observation_space == spaces.Box(0, 255, (16, 20, 1), np.uint8)
    floats = adapted("FloatPicture")
    assert floats.observation_space == spaces.Box(0, 255, (16, 20, 3), np.uint8)
    assert floats._shown.forward(np.full((16, 20, 3), 0.5)).max() == 128
    for name, brightest, shape in (
        ("FloatPictureOfBytes", 255, (3, 16, 20)),
        ("WholePicture", 255, (16, 20, 3)),
        ("Mask", 1, (40, 36, 1)),
    ):
        other = adapted(name)
        assert other.observation_space == spaces.Box(0, 255, shape, np.uint8)
        original = environments.SHOWN[name]
        assert other._shown.forward(np.full(original.shape, brightest, original.dtype)).min() == 255


def test_nested_parts_get_keys_that_networks_can_have() -> None:
    assert list(adapted("DictInDict").observation_space) == ["a/b", "a/d/0", "a/d/1", "c"]
    assert list(adapted("DottedKey").observation_space) == ["a_b", "type_"]
    assert adapted("Tuple").observation_space["1"] == spaces.Discrete(11)


def test_bounds_that_are_not_a_number_are_none() -> None:
    space = spaces.Box(-1, 1, (2,), np.float32)
    space.low[0] = space.high[1] = np.nan
    env: Any = gym.Env()
    env.observation_space, env.action_space = space, spaces.Discrete(2)
    found: Any = adapt(env, "odd").observation_space
    assert found.low.tolist() == [-np.inf, -1] and found.high.tolist() == [1, np.inf]


@pytest.mark.parametrize("name", ["Usual", "Bits", "Integers", "ActBits", "StackedGray"])
def test_what_can_be_learned_from_as_it_is_stays_so(name: str) -> None:
    env = ref(name).make()
    assert not isinstance(env.env, AdaptSpaces)  # type: ignore[attr-defined]
    assert (env.observation_space, env.action_space) == (env.unwrapped.observation_space, env.unwrapped.action_space)


def test_the_suite_is_not_wrapped() -> None:
    env = EnvironmentRef("rlhf/Driving-v1").make()
    plain = gym.make("rlhf/Driving-v1", disable_env_checker=True)
    layers = []
    for each in (env, plain):
        layers.append([])
        while isinstance(each, gym.Wrapper):
            layers[-1].append(type(each))
            each = each.env
    assert layers[0] == layers[1]


@pytest.mark.parametrize(
    "name, said",
    [
        ("DictWithText", "The part 'mission' of the observations is text, and is left out."),
        ("DictWithNothing", "The part 'nothing' of the observations has no numbers, and is left out."),
        ("DictInDict", "The observations are flattened to the keys a/b, a/d/0, a/d/1, c."),
        ("Text", "Texts are read character by character, 12 of 62 kinds; their meaning has to be learned."),
        ("FloatPicture", "The pictures are kept as bytes: values from 0 to 1 become 0 to 255."),
        ("ActDictMixed", "Actions are joined: 3 parts are one Box of 8 numbers."),
    ],
)
def test_what_is_otherwise_is_said(name: str, said: str) -> None:
    venv = make_vec_env(ref(name), 1)
    assert said in venv.notes
    venv.close()


@pytest.mark.parametrize("name", environments.REFUSED)
def test_what_cannot_be_adapted_is_refused_by_name_with_the_remedy(name: str) -> None:
    for processes in (False, True):
        with pytest.raises(ValueError, match=environments.REFUSED[name][1]) as refusal:
            make_vec_env(ref(name), 2, processes=processes)
        assert str(refusal.value).startswith(ref(name).id)


def test_the_remedies_work() -> None:
    low = WrapperRef.of('rlhf_envs.wrappers:BoundActions={"low": 2, "high": [4]}')
    env: Any = ref("ActHalfUnbounded", wrappers=(low,)).make()
    env.reset(seed=0)
    env.step(np.array([1], np.float32))
    assert env.unwrapped.actions[0].tolist() == [4.0]
    keys = WrapperRef.of('gymnasium.wrappers:FilterObservation={"filter_keys": ["place"]}')
    assert list(ref("DictGraph", wrappers=(keys,)).make().observation_space) == ["place"]  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="BoundActions needs finite bounds, low below high and within"):
        BoundActions(gym.make("odd/ActHalfUnbounded-v0"), -1, 1)
    with pytest.raises(ValueError, match="is for Box actions"):
        BoundActions(gym.make("odd/Usual-v0"), -1, 1)


@pytest.mark.parametrize(
    "name", ["DictInDict", "Tuple", "Text", "BitsSquare", "GridOfChoices", "DictWithPicture", "ActDictMixed", "ActBits"]
)
def test_preferences_are_learned_in_every_kind_of_space(name: str, tmp_path: Path) -> None:
    venv = make_vec_env(ref(name), 2)
    policy, extractor = policy_for(venv.observation_space)
    model = PPO(policy, venv, n_steps=32, batch_size=32, n_epochs=1, device="cpu", policy_kwargs=extractor)
    callback = PreferenceCallback(venv, tmp_path / "feedback.db", FeedbackConfig(answers=9, segment_length=5))
    model.learn(128, callback=callback)
    assert callback.loop.progress.asked == 9 and np.isfinite(callback.last_scores).all()
    segment = callback.loop.store.queries()[0].segments[0]
    save(callback.loop.ensemble, tmp_path / "reward.safetensors")
    reward = load(tmp_path / "reward.safetensors")
    assert reward.encoder.observation_space == venv.observation_space
    assert np.isfinite(reward.reward(segment.observations, segment.actions)).all()
    callback.loop.store.close()
    venv.close()


def test_copies_in_processes_see_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ref("DictInDict")
    apart, together = make_vec_env(wanted, 2, processes=True), make_vec_env(wanted, 2)
    for venv in (apart, together):
        venv.reset()
    for _ in range(3):
        first: Any = apart.step(np.array([0, 1]))[0]
        second: Any = together.step(np.array([0, 1]))[0]
        assert first.keys() == second.keys() and all(np.array_equal(first[key], second[key]) for key in first)
    apart.close()


def test_wrappers_can_be_named_where_copies_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    stacked = make_vec_env("CartPole-v1", 2, wrappers=('gymnasium.wrappers:FrameStackObservation={"stack_size": 3}',))
    assert stacked.observation_space.shape == (3, 4)
    assert stacked.ref is not None and EnvironmentRef.from_json(stacked.ref.to_json()) == stacked.ref
    assert stacked.ref.make().observation_space.shape == (3, 4)
    monkeypatch.setitem(gym.registry, "Mine-v0", EnvSpec("Mine-v0", entry_point=environments.Odd))
    with pytest.raises(ValueError, match=r"wrapper gymnasium.wrappers:FrameStackObservation=.* cannot be used: "):
        make_vec_env("CartPole-v1", 2, wrappers=('gymnasium.wrappers:FrameStackObservation={"stack_size": 0}',))


def test_what_the_commands_decide_is_no_argument_of_an_environment() -> None:
    with pytest.raises(ValueError, match="Leave render_mode out of the arguments of CartPole-v1"):
        EnvironmentRef("CartPole-v1", {"render_mode": "human"})
    with pytest.raises(ValueError, match="Leave task_class out of the arguments of rlhf/Driving-v1"):
        make_vec_env(EnvironmentRef("rlhf/Driving-v1", {"task_class": "rlhf_envs.envs.writing.task:Writing"}), 2)
