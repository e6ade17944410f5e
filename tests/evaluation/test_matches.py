"""What judges are shown: the same moment of episodes that began alike, whatever the environment."""

from contextlib import closing
from itertools import combinations

import numpy as np
import pytest

from rlhf_envs.clips import clip_painter
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.evaluation.judging.session import ClipRecorder, Participant, pair_prefix, plan_matches
from rlhf_envs.evaluation.policies import RandomPolicy, ScriptedPolicy

NAMES = ("a", "b", "c")
THREE = [Participant(name, name, RandomPolicy) for name in NAMES]


def driving(clip_seconds: float, moments: int) -> ClipRecorder:
    environment = EnvironmentRef("rlhf/Driving-v1", {"horizon": 60})
    return ClipRecorder(environment, clip_seconds=clip_seconds, moments=moments, needs_pictures=True)


def test_at_the_first_moment_both_sides_stand_where_the_other_stands() -> None:
    with closing(driving(clip_seconds=2.0, moments=3)) as recorder:
        expert, random = (recorder.clip(policy, 7, 0) for policy in (ScriptedPolicy("expert"), RandomPolicy(7)))
        elsewhere = recorder.clip(ScriptedPolicy("expert"), 8, 0)
    assert expert.states is not None and random.states is not None and elsewhere.states is not None
    np.testing.assert_array_equal(expert.states[0], random.states[0])
    np.testing.assert_array_equal(expert.observations[0], random.observations[0])
    assert not np.array_equal(expert.states[-1], random.states[-1])
    assert not np.array_equal(expert.states[0], elsewhere.states[0])


def test_clips_begin_from_the_start_to_the_last_moment_that_holds_one_at_the_natural_pace() -> None:
    with closing(driving(clip_seconds=2.0, moments=3)) as recorder:
        assert (recorder.length, recorder.starts) == (20, (0, 20, 40))
        parts = [recorder.clip(ScriptedPolicy("expert"), 7, start) for start in recorder.starts]
        again = recorder.clip(ScriptedPolicy("expert"), 7, 10)
    whole = np.concatenate([part.observations for part in parts])
    np.testing.assert_array_equal(again.observations, whole[10:30])
    assert all(len(part) == 20 for part in parts)


def test_a_clip_is_never_longer_than_an_episode() -> None:
    with closing(driving(clip_seconds=1000.0, moments=4)) as recorder:
        assert (recorder.length, recorder.starts) == (60, (0,))


@pytest.mark.parametrize("env", ["Pendulum-v1", "tests.sb3.environments:test/Walk-v0"])
def test_other_peoples_environments_are_shown_from_states_or_from_pictures(env: str) -> None:
    with closing(ClipRecorder(env, clip_seconds=0.5, moments=2, needs_pictures=True)) as recorder:
        one, other = (recorder.clip(RandomPolicy(seed), 3, 0) for seed in (1, 2))
        assert len(one) == len(other) == recorder.length
    painter = clip_painter(env, (300, 200))
    first, second = painter.frames(one), painter.frames(other)
    np.testing.assert_array_equal(first[0], second[0])
    assert not np.array_equal(first[-1], second[-1])


def test_a_clip_that_begins_after_the_end_of_an_episode_shows_how_it_ended() -> None:
    environment = EnvironmentRef("CartPole-v1", horizon=200)
    with closing(ClipRecorder(environment, clip_seconds=0.4, moments=2, needs_pictures=True)) as recorder:
        clip = recorder.clip(RandomPolicy(0), 0, recorder.starts[-1])
        assert len(clip) == recorder.length and clip.lived == 1
    assert clip.absorbing is not None and clip.absorbing.tolist() == [False] + [True] * (len(clip) - 1)
    assert isinstance(clip.observations, np.ndarray) and clip.states is not None
    assert clip.observations[0].any() and not clip.observations[1:].any() and not clip.true_rewards[1:].any()
    # CartPole ends an episode at an angle of 12 degrees or 2.4 from the middle, and that is what is shown.
    place, _, angle, _ = clip.states[0][:4]
    assert abs(angle) > np.deg2rad(12) or abs(place) > 2.4


def test_a_clip_goes_on_after_the_end_of_an_episode_with_absorbing_steps() -> None:
    environment = EnvironmentRef("CartPole-v1", horizon=200)
    with closing(ClipRecorder(environment, clip_seconds=1.5, moments=1, needs_pictures=False)) as recorder:
        clip = recorder.clip(RandomPolicy(0), 0, 0)
    assert 1 < clip.lived < len(clip) and clip.absorbing is not None
    assert clip.absorbing.tolist() == [False] * clip.lived + [True] * (len(clip) - clip.lived)
    assert clip.true_rewards.tolist() == [1.0] * clip.lived + [0.0] * (len(clip) - clip.lived)


def test_every_pair_meets_equally_often_and_at_the_same_starts() -> None:
    matches = plan_matches(THREE, 30, (), 100)
    assert list(matches) == list(range(100, 110))
    for met in matches.values():
        assert sorted((match.first.key, match.second.key) for match in met) == list(combinations(NAMES, 2))
    orders = {tuple(match.first.key + match.second.key for match in met) for met in matches.values()}
    assert len(orders) > 1


def test_what_was_asked_before_counts_and_is_not_asked_again() -> None:
    first = {match.name for met in plan_matches(THREE, 7, (), 100).values() for match in met}
    more = {match.name for met in plan_matches(THREE, 20, first, 100).values() for match in met}
    assert (len(first), len(more)) == (7, 13) and not first & more
    counts = [sum(name.startswith(pair_prefix(*pair)) for name in first | more) for pair in combinations(THREE, 2)]
    assert sorted(counts) == [6, 7, 7]
    assert plan_matches(THREE, 20, first | more, 100) == {}
