"""Every environment of the suite passes every check, one test for each, so that a failure names both."""

import gymnasium as gym
import pytest

import rlhf_envs
from rlhf_envs.envs.registration import ENVIRONMENTS
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


def test_an_unknown_environment_is_refused_with_the_nearest_names():
    with pytest.raises(ValueError, match="rlhf/Driving-v0"):
        check_environment("rlhf/Drivign-v0")


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
        import numpy as np

        return np.array([Broken.starts], dtype=np.float32)


def test_a_broken_environment_is_caught_and_the_check_is_named():
    gym.register("Broken-v0", Broken)
    try:
        with pytest.raises(EnvironmentCheckError, match="Broken-v0 fails"):
            check_environment("Broken-v0")
    finally:
        del gym.registry["Broken-v0"]
