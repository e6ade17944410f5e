"""Every environment of the suite passes every check, one test for each, so that a failure names both."""

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Discrete

import rlhf_envs
from rlhf_envs.envs import ENVIRONMENTS, Field, Task, TaskEnv, find_spec, is_native, register_task
from rlhf_envs.testing import CHECKS, EnvironmentCheckError, check_environment
from rlhf_envs.testing.checks import NotApplicable, Subject


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("environment_id", ENVIRONMENTS)
def test_every_environment_passes_every_check(environment_id, check):
    try:
        check(Subject(environment_id))
    except NotApplicable as reason:
        assert check.__name__ == "keyboard_acts", reason


@pytest.mark.parametrize("environment_id", ENVIRONMENTS)
def test_an_id_works_with_its_module_in_front(environment_id):
    assert gym.make(f"rlhf_envs:{environment_id}").unwrapped.reset(seed=0)[0] is not None
    assert gym.make_vec(f"rlhf_envs:{environment_id}", num_envs=2).num_envs == 2


@pytest.mark.parametrize("environment_id", ENVIRONMENTS)
def test_the_reference_page_has_gymnasiums_headings(environment_id):
    page = gym.make(environment_id).unwrapped.__doc__ or ""
    for heading in (
        "Description",
        "Action Space",
        "Observation Space",
        "Rewards",
        "Starting State",
        "Episode End",
        "Arguments",
        "Why people's judgement helps",
        "Version History",
    ):
        assert f"## {heading}" in page
    for term in gym.make(environment_id).unwrapped.task.reward_weights:
        assert f"| {term} |" in page


def test_registering_twice_changes_nothing():
    before = {name: gym.spec(name) for name in ENVIRONMENTS}
    rlhf_envs.register_environments()
    assert {name: gym.spec(name) for name in ENVIRONMENTS} == before


@pytest.mark.parametrize("environment_id", ["CartPole-v1", "Pendulum-v1", "Acrobot-v1"])
def test_other_environments_can_be_checked_as_well(environment_id):
    report = check_environment(environment_id)
    assert "is_deterministic" in report.passed
    assert "scalar_and_vector_agree" in report.skipped
    assert report.clips.startswith("Clips have ")


def test_an_unknown_environment_is_refused_with_the_nearest_names():
    with pytest.raises(ValueError, match="rlhf/Driving-v1"):
        check_environment("rlhf/Drivign-v0")


class Thermostat(Task):
    """Keep a room warm."""

    observation_space = Box(-1, 1, (1,), np.float32)
    action_space = Discrete(2)
    fields = {"room": Field()}
    reset_draws = {"room": ()}
    render_fps = 7

    def begin(self, state, draws):
        state.room = draws.room

    def advance(self, state, actions, draws):
        state.room = 0.9 * state.room + 0.1 * actions
        return {"reward": state.room}

    def observe(self, state):
        return state.room[:, None].copy()


@pytest.fixture
def own_id() -> Iterator[str]:
    """An id of a user's own, which no other test sees."""
    yield "home/Thermostat-v0"
    gym.registry.pop("home/Thermostat-v0", None)


def test_a_registered_task_works_like_an_environment_of_the_suite(own_id):
    register_task(own_id, Thermostat, horizon=9)
    assert is_native(own_id)
    assert find_spec(own_id).kwargs["horizon"] == 9
    env = gym.make(own_id, render_mode="rgb_array")
    assert env.unwrapped.__doc__ == "Keep a room warm."
    assert (env.metadata["render_fps"], env.unwrapped.horizon) == (7, 9)
    assert gym.make(own_id, horizon=4).unwrapped.horizon == 4
    for twin in (
        gym.make(env.spec),
        gym.make(EnvSpec.from_json(env.spec.to_json())),
        pickle.loads(pickle.dumps(env)),
    ):
        assert twin.reset(seed=3)[0].tolist() == env.reset(seed=3)[0].tolist()
        assert twin.render().shape == (400, 600, 3)
    batch = gym.make_vec(own_id, num_envs=3)
    assert batch.reset(seed=3)[0][0].tolist() == env.reset(seed=3)[0].tolist()
    for mode in ("sync", "async"):
        slow = gym.make_vec(own_id, num_envs=2, vectorization_mode=mode)
        assert slow.reset(seed=3)[0].tolist() == batch.reset(seed=3)[0][:2].tolist()
        slow.close()
    report = check_environment(own_id)
    assert set(report.skipped) == {"keyboard_acts", "gaming_the_proxy_does_not_pay", "trivial_policies_do_not_pay"}


def test_a_task_of_a_function_can_be_registered_too(own_id):
    class Local(Thermostat):
        pass

    register_task(own_id, Local)
    assert gym.make_vec(own_id, num_envs=2).reset(seed=0)[0].shape == (2, 1)
    assert type(gym.make(gym.make(own_id).spec).unwrapped.task) is Local


def test_registering_another_task_under_an_id_replaces_it_and_warns(own_id):
    register_task(own_id, Thermostat)
    register_task(own_id, Thermostat)
    with pytest.warns(UserWarning, match="Overriding environment home/Thermostat-v0"):
        register_task(own_id, Thermostat, horizon=3)
    assert gym.make(own_id).unwrapped.horizon == 3


def test_what_is_no_task_is_refused_in_a_sentence(own_id):
    with pytest.raises(ValueError, match=r"is made of a subclass of rlhf_envs\.envs\.Task"):
        register_task(own_id, TaskEnv)
    with pytest.raises(ValueError, match="by its place as \"module:Class\", not as 'Thermostat'"):
        register_task(own_id, "Thermostat")
    register_task(own_id, "json:dumps")
    with pytest.raises(ValueError, match=r"subclass of rlhf_envs\.envs\.Task, not of 'json:dumps'"):
        gym.make(own_id)


def test_importing_the_library_imports_no_environment_and_no_pygame():
    seen = "import json, sys, rlhf_envs, rlhf_envs.envs; json.dump(sorted(sys.modules), sys.stdout)"
    loaded = json.loads(subprocess.run([sys.executable, "-c", seen], capture_output=True, check=True).stdout)
    ours = {name for name in loaded if name.startswith("rlhf_envs")}
    assert ours == {"rlhf_envs", "rlhf_envs.envs", "rlhf_envs.envs.registration"}
    assert "pygame" not in loaded


class Broken(gym.Env):
    """Starts somewhere else every time, whatever the seed."""

    observation_space = gym.spaces.Box(0, 1e6, (1,))
    action_space = gym.spaces.Discrete(2)
    starts = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        Broken.starts += 1
        return self._seen(), {}

    def step(self, action):
        return self._seen(), 0.0, False, False, {}

    def _seen(self):
        return np.array([Broken.starts], dtype=np.float32)


def test_a_broken_environment_is_caught_and_the_check_is_named():
    gym.register("Broken-v0", Broken)
    try:
        with pytest.raises(EnvironmentCheckError, match="Broken-v0 fails"):
            check_environment("Broken-v0")
    finally:
        del gym.registry["Broken-v0"]
