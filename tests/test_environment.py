"""An environment is named once, and everything makes the same from it."""

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from rlhf_envs.copies import CopiesInProcesses, SeparateCopies
from rlhf_envs.environment import EnvironmentRef, StoredEnvironment, WrapperRef
from tests.sb3 import environments

environments.register()

FULL = EnvironmentRef(
    "tests.sb3.environments:test/Walk-v0",
    {"kind": "dict"},
    (WrapperRef("gymnasium.wrappers:FilterObservation", {"filter_keys": ["place"]}),),
    horizon=12,
    on_termination="restart",
)


def halved(env: gym.Env[Any, Any], by: float = 2.0) -> gym.Env[Any, Any]:
    """A wrapper that is a function."""
    return gym.wrappers.TransformReward(env, lambda reward: float(reward) / by)


def nothing(env: gym.Env[Any, Any]) -> None:
    """Not a wrapper."""


def changing_infos() -> gym.Env[Any, Any]:
    """An environment that says something else of another type in each step."""
    return _Changing()


class _Changing(environments.Walk):
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        *outcome, _ = super().step(action)
        return *outcome, {"said": [1, "one", None, np.zeros(self.steps)][self.steps % 4]}  # type: ignore[return-value]


if "test/Changing-v0" not in gym.registry:
    gym.register("test/Changing-v0", entry_point=changing_infos, max_episode_steps=5)


def test_a_reference_is_the_same_after_json() -> None:
    for ref in (FULL, EnvironmentRef("CartPole-v1")):
        assert EnvironmentRef.from_json(json.loads(json.dumps(ref.to_json()))) == ref
        stored = StoredEnvironment(ref, 7, "Which one is calmer?")
        assert StoredEnvironment.from_json(json.loads(json.dumps(stored.to_json()))) == stored
    assert StoredEnvironment.from_json(StoredEnvironment().to_json()) == StoredEnvironment()
    assert (
        EnvironmentRef.of("CartPole-v1")
        == EnvironmentRef("CartPole-v1")
        == EnvironmentRef.of(EnvironmentRef("CartPole-v1"))
    )


@pytest.mark.parametrize(
    "described, said",
    [
        ([], "an object with its id, not by"),
        ({}, "named by its id, such as rlhf/Driving-v1, not by ''"),
        ({"id": 3}, "named by its id"),
        ({"id": "a", "kwargs": []}, "arguments of a must be an object"),
        ({"id": "a", "horizon": True}, "horizon of a must be a whole number, not True"),
        ({"id": "a", "horizon": 0}, "at least 1 step, not 0"),
        ({"id": "a", "on_termination": "explode"}, "one of terminate, restart, not 'explode'"),
        ({"id": "a", "colour": "red"}, "has no colour"),
        ({"id": "a", "wrappers": "b:C"}, "must be a list of objects"),
        ({"id": "a", "wrappers": [{"class": "b:C"}]}, 'described by "wrapper" and "kwargs"'),
        ({"id": "a", "wrappers": [{"wrapper": "b:C", "kwargs": 1}]}, 'named as "module:Class", with an object'),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(described: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        EnvironmentRef.from_json(described)


def test_arguments_that_json_has_no_form_for_cannot_be_written_down() -> None:
    for ref in (
        EnvironmentRef("a", {"size": np.ones(2)}),
        EnvironmentRef("a", wrappers=(WrapperRef("b:C", {"x": 1j}),)),
    ):
        with pytest.raises(ValueError, match="The arguments of a and of its wrappers must be plain JSON"):
            ref.to_json()


def test_a_wrapper_is_read_from_text() -> None:
    assert WrapperRef.of("b:C") == WrapperRef("b:C")
    assert WrapperRef.of('b:C {"size": [84, 84]}') == WrapperRef("b:C", {"size": [84, 84]})
    assert WrapperRef.of(str(WrapperRef("b:C", {"size": 1}))) == WrapperRef("b:C", {"size": 1})
    with pytest.raises(ValueError, match="arguments of a wrapper are a JSON object"):
        WrapperRef.of("b:C size=84")


def test_wrappers_are_put_around_each_copy_inside_the_limit_of_steps() -> None:
    env = FULL.make()
    assert list(env.observation_space) == ["place"]  # type: ignore[call-overload]
    assert env.get_wrapper_attr("horizon") == FULL.episode_length() == 12
    vector = FULL.make_vector(2)
    observations, _ = vector.reset(seed=0)
    assert observations["place"].shape == (2, 1)
    skipping = EnvironmentRef("CartPole-v1", wrappers=(WrapperRef("tests.test_environment:halved", {"by": 4}),))
    env = skipping.make()
    env.reset(seed=0)
    assert env.step(0)[1] == 0.25


@pytest.mark.parametrize(
    "wrapper, said",
    [
        ("gymnasium.wrappers:NoSuchWrapper", "has no NoSuchWrapper"),
        ("no_such_module:Wrapper", "cannot be imported"),
        ('tests.test_environment:halved {"size": 3}', "cannot be used: .* unexpected keyword argument 'size'"),
        ("tests.test_environment:nothing", "gives None, which is no Gymnasium environment"),
    ],
)
def test_a_wrapper_that_cannot_be_used_is_refused_in_one_sentence(wrapper: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        EnvironmentRef("CartPole-v1", wrappers=(WrapperRef.of(wrapper),)).make()


def test_an_environment_of_the_suite_with_a_wrapper_runs_as_separate_copies() -> None:
    wrapped = EnvironmentRef("rlhf/Driving-v1", {"horizon": 6}, (WrapperRef("tests.test_environment:halved"),))
    copies, batch = wrapped.make_vector(3), EnvironmentRef("rlhf/Driving-v1", {"horizon": 6}).make_vector(3)
    assert isinstance(copies, SeparateCopies) and copies.horizon == 6
    assert np.array_equal(copies.reset(seed=4)[0], batch.reset(seed=4)[0])
    for _ in range(6):
        actions = batch.action_space.sample()
        observations, rewards, _, truncated, info = copies.step(actions)
        expected, paid, *_ = batch.step(actions)
        assert np.array_equal(observations, expected)
        assert np.allclose(rewards, paid / 2)
        assert [own["true_reward"] for own in info["copies"]] == pytest.approx(paid.tolist())
    assert truncated.all()


@pytest.mark.parametrize("processes", [False, True])
def test_separate_copies_begin_anew_in_the_step_that_ends_an_episode_and_keep_its_infos(processes: bool) -> None:
    vector = EnvironmentRef("tests.test_environment:test/Changing-v0").make_vector(2, processes=processes)
    assert isinstance(vector, CopiesInProcesses if processes else SeparateCopies)
    assert vector.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP and vector.horizon == 5
    first, _ = vector.reset(seed=0)
    for step in range(5):
        observations, _, terminated, truncated, info = vector.step(np.ones(2, np.int64))
        assert [np.shape(own["said"]) for own in info["copies"]] == 2 * [[(), (), (), (3,)][(step + 1) % 4]]
    assert truncated.all() and not terminated.any()
    assert [last.tolist() for last in info["final_obs"]] == (first + 5).tolist()
    assert np.abs(observations).max() <= 3
    assert vector.call_copies([1], "broken_at") == [None]
    assert vector.call_copies([0, 1], "get_wrapper_attr", "kind") == ["vector", "vector"]
    vector.close()


def test_copies_in_processes_do_what_copies_in_a_row_do() -> None:
    ref = EnvironmentRef("CartPole-v1", horizon=20)
    apart, together = ref.make_vector(2, processes=True), ref.make_vector(2)
    assert np.array_equal(apart.reset(seed=3)[0], together.reset(seed=3)[0])
    for _ in range(45):
        for one, other in zip(apart.step(np.array([0, 1])), together.step(np.array([0, 1])), strict=True):
            if isinstance(one, np.ndarray):
                assert np.array_equal(one, other)
    apart.close()


def test_an_error_in_a_process_is_raised_as_what_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="does not take these arguments"):
        EnvironmentRef("CartPole-v1", {"colour": 3}).make_vector(2, processes=True)


def test_episodes_of_other_environments_and_of_wrapped_ones_may_terminate() -> None:
    halved = (WrapperRef("tests.test_environment:halved"),)
    assert EnvironmentRef("CartPole-v1").terminates
    assert not EnvironmentRef("CartPole-v1", on_termination="restart").terminates
    assert not EnvironmentRef("rlhf/Driving-v1").terminates
    assert EnvironmentRef("rlhf/Driving-v1", wrappers=halved).terminates


def test_what_an_environment_looks_like_needs_no_horizon() -> None:
    env = EnvironmentRef("tests.sb3.environments:test/Endless-v0").make("rgb_array", limited=False)
    env.reset(seed=0)
    picture: Any = env.render()
    assert picture.shape == (36, 72, 3)


def test_a_store_may_say_nothing_but_nothing_wrong() -> None:
    assert StoredEnvironment.from_json({"segment_length": 5}) == StoredEnvironment(None, 5)
    assert StoredEnvironment().id == "" and StoredEnvironment(FULL).id == FULL.id
    for wrong in ([], {"segment_length": "5"}, {"segment_length": 0}, {"rubric": 3}, {"id": "a", "colour": 1}):
        with pytest.raises(ValueError):
            StoredEnvironment.from_json(wrong)


def test_wrappers_may_be_given_as_one_text_or_as_classes() -> None:
    time_aware = WrapperRef("gymnasium.wrappers.stateful_observation:TimeAwareObservation")
    assert EnvironmentRef("CartPole-v1", wrappers="gymnasium.wrappers:Autoreset").wrappers == (  # type: ignore[arg-type]
        WrapperRef("gymnasium.wrappers:Autoreset"),
    )
    assert WrapperRef.all_of([gym.wrappers.TimeAwareObservation]) == (time_aware,)

    class Local(gym.Wrapper[Any, Any, Any, Any]):
        """Nowhere that it could be imported from."""

    for wrong, said in (
        (Local, "at the top of a module"),
        (3, "A wrapper is named as"),
        (None, "A wrapper is named as"),
    ):
        with pytest.raises(ValueError, match=said):
            WrapperRef.all_of([wrong])


def test_wrappers_that_ask_for_the_length_of_episodes_are_told_the_horizon() -> None:
    wrappers: Any = ["gymnasium.wrappers:TimeAwareObservation"]
    assert EnvironmentRef("CartPole-v1", wrappers=wrappers).make().observation_space.shape == (5,)
    made = EnvironmentRef("CartPole-v1", wrappers=wrappers, horizon=70).make()
    assert made.get_wrapper_attr("max_timesteps") == 70


def test_wrappers_that_work_on_pictures_get_some() -> None:
    ref = EnvironmentRef("CartPole-v1", wrappers=(WrapperRef("gymnasium.wrappers:AddRenderObservation"),))
    env = ref.make()
    assert env.reset(seed=0)[0].shape == env.observation_space.shape == (400, 600, 3)
    env.close()


def test_lists_in_the_arguments_of_wrappers_are_tuples_where_these_insist() -> None:
    reshaped = WrapperRef.of('gymnasium.wrappers:ReshapeObservation={"shape": [2, 2]}')
    assert EnvironmentRef("CartPole-v1", wrappers=(reshaped,)).make().observation_space.shape == (2, 2)
    wrong = WrapperRef.of('gymnasium.wrappers:ReshapeObservation={"shape": [5, 2]}')
    with pytest.raises(ValueError, match="cannot be used"):
        EnvironmentRef("CartPole-v1", wrappers=(wrong,)).make()
