"""Which pairs are asked, and which never are."""

import numpy as np
import pytest

from rlhf_envs.feedback.selection import SELECTIONS, Candidates, describe_segments, pair_features, pair_up
from rlhf_envs.recording import Windows

LENGTH = 10


def described(*segments):
    observations = np.array(segments, dtype=np.float32)[..., None]
    return describe_segments(observations, np.zeros((len(segments), LENGTH, 1), dtype=np.float32))


def windows(starts, rows):
    return Windows(np.array(starts), np.array(rows), LENGTH)


RISING, FALLING = np.linspace(0, 1, LENGTH), np.linspace(1, 0, LENGTH)


def test_two_segments_that_look_alike_are_never_asked():
    left, right = pair_up(windows([0, 0, 50, 50], [0, 1, 2, 3]), described(RISING, FALLING, RISING + 0.001, RISING))
    assert list(zip(left, right, strict=True)) == [(1, 3)]


def test_overlapping_segments_of_one_copy_are_never_asked():
    left, right = pair_up(windows([0, 0, 5, 10], [4, 4, 4, 4]), described(RISING, RISING, FALLING, FALLING))
    assert list(zip(left, right, strict=True)) == [(1, 3)]


def test_two_segments_in_which_nothing_moves_are_never_asked():
    still = [np.full(LENGTH, value) for value in (0.0, 0.3, 0.9)]
    left, right = pair_up(windows([0, 0, 0, 0], [0, 1, 2, 3]), described(still[0], RISING, still[1], still[2]))
    assert list(zip(left, right, strict=True)) == [(1, 3)]


def test_nothing_is_asked_where_all_segments_are_the_same():
    left, right = pair_up(windows([0, 0], [0, 1]), described(RISING * 0, RISING * 0))
    assert len(left) == len(right) == 0


def candidates(count=200, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 6)).astype(np.float32)
    preferences = rng.random((5, count)).astype(np.float32)
    return Candidates(np.arange(count), np.arange(count) + count, preferences, features)


@pytest.mark.parametrize("name", SELECTIONS)
@pytest.mark.parametrize("count", [1, 7, 200, 500])
def test_every_rule_gives_as_many_different_pairs_as_there_are(name, count):
    chosen = SELECTIONS[name](candidates(), count, np.random.default_rng(1))
    assert len(set(chosen.tolist())) == len(chosen) == min(count, 200)


def test_disagreement_asks_what_the_members_dispute():
    pool = candidates()
    pool.preferences[:] = 0.5
    pool.preferences[:, [3, 77]] = np.array([0, 1, 0, 1, 0])[:, None]
    assert set(SELECTIONS["disagreement"](pool, 2, np.random.default_rng(0))) == {3, 77}


def test_entropy_asks_what_is_least_certain():
    pool = candidates()
    pool.preferences[:] = 0.95
    pool.preferences[:, [3, 77]] = 0.5
    assert set(SELECTIONS["entropy"](pool, 2, np.random.default_rng(0))) == {3, 77}


def test_diverse_selection_does_not_ask_the_same_thing_twice():
    pool = candidates(40)
    pool.features[:] = 0
    pool.features[:5] = np.eye(6)[:5] * 10
    pool.preferences[:] = np.linspace(0, 1, 5)[:, None]
    chosen = SELECTIONS["diverse"](pool, 6, np.random.default_rng(0))
    assert len({tuple(pool.features[pair]) for pair in chosen}) == 6


def test_features_of_a_pair_do_not_depend_on_the_sides():
    clips = described(RISING, FALLING)
    forth, back = (pair_features(clips, np.array([a]), np.array([1 - a])) for a in (0, 1))
    assert forth == pytest.approx(back)
