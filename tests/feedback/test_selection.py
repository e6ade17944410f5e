"""Which pairs are asked, and which never are."""

import sys
import time
from dataclasses import replace
from importlib import import_module
from itertools import permutations

import numpy as np
import pytest
from gymnasium import spaces

from rlhf_envs.feedback import PreferenceStore, Purpose, make_annotator
from rlhf_envs.kinds import KINDS
from rlhf_envs.loop import FeedbackConfig, FeedbackLoop
from rlhf_envs.loop.candidates import (
    Candidates,
    describe_steps,
    group_preferences,
    group_segments,
    make_candidates,
    standardised,
    without_near_ties,
)
from rlhf_envs.loop.choosing import QueryChooser, SegmentPool
from rlhf_envs.loop.selection import SELECTION_RULES, choose, select_uniform
from rlhf_envs.queries import Query
from rlhf_envs.recording import Windows
from rlhf_envs.rewards import EnsembleConfig, RewardEnsemble
from rlhf_envs.segments import Segment
from tests.test_loop import ACTIONS, FIT, HORIZON, OBSERVATIONS, rollouts

LENGTH = 10


def described(*segments):
    observations = np.array(segments, dtype=np.float32)[..., None]
    steps = describe_steps(observations.reshape(-1, 1), np.zeros((observations.size, 1), dtype=np.float32), {})
    return standardised(steps.reshape(len(segments), LENGTH, -1))


def windows(starts, rows):
    return Windows(np.array(starts), np.array(rows), LENGTH)


RISING, FALLING = np.linspace(0, 1, LENGTH), np.linspace(1, 0, LENGTH)


def test_two_segments_that_look_alike_are_never_asked():
    groups = group_segments(
        windows([0, 0, 50, 50], [0, 1, 2, 3]), described(RISING, FALLING, RISING + 0.001, RISING), 2
    )
    assert groups.tolist() == [[1, 3]]


def test_overlapping_segments_of_one_copy_are_never_asked():
    groups = group_segments(windows([0, 0, 5, 10], [4, 4, 4, 4]), described(RISING, RISING, FALLING, FALLING), 2)
    assert groups.tolist() == [[1, 3]]


def test_two_segments_in_which_nothing_moves_are_never_asked():
    still = [np.full(LENGTH, value) for value in (0.0, 0.3, 0.9)]
    groups = group_segments(windows([0, 0, 0, 0], [0, 1, 2, 3]), described(still[0], RISING, still[1], still[2]), 2)
    assert groups.tolist() == [[1, 3]]


def test_episodes_of_a_single_step_are_asked_about_although_nothing_moves_in_them():
    shown = np.array([[[0.0]], [[0.2]], [[1.0]], [[0.2]]], np.float32)
    places = Windows(np.array([0, 1, 2, 3]), np.array([0, 0, 0, 0]), 1)
    assert group_segments(places, shown, 2).tolist() == [[0, 2]]


def test_nothing_is_asked_where_all_segments_are_the_same():
    assert len(group_segments(windows([0, 0], [0, 1]), described(RISING * 0, RISING * 0), 2)) == 0


def test_a_ranking_in_which_two_segments_overlap_is_never_asked():
    # Groups are (0, 2, 4) and (1, 3, 5).
    clips = described(RISING, FALLING, RISING * 2, FALLING * 2, RISING * 3, FALLING * 3)
    assert group_segments(windows([0, 0, 9, 10, 0, 0], [0, 1, 0, 1, 4, 5]), clips, 3).tolist() == [[1, 3, 5]]
    assert group_segments(windows([0, 0, 10, 10, 0, 5], [0, 1, 0, 1, 4, 1]), clips, 3).tolist() == [[0, 2, 4]]


def test_a_ranking_may_hold_two_segments_that_look_alike_but_not_more():
    clips = described(*[RISING] * 5, FALLING)
    assert group_segments(windows([0] * 6, range(6)), clips, 3).tolist() == [[1, 3, 5]]


def test_every_segment_can_be_rated():
    assert group_segments(windows([0, 1, 2], [0, 0, 0]), described(RISING, RISING * 0, FALLING), 1).tolist() == [
        [0],
        [1],
        [2],
    ]


@pytest.fixture
def ensemble():
    numbers = spaces.Box(-1, 1, (3,), np.float32)
    fitted = RewardEnsemble(numbers, numbers, EnsembleConfig(5))
    fitted.fits = 1
    return fitted


def test_preferences_of_a_group_compare_every_two_of_it_and_one_alone_with_the_mean(ensemble):
    returns = np.array([[0.0, 1.0, 3.0, 2.0]], np.float32)
    odds = group_preferences(ensemble, returns, np.array([[2, 0, 1]]))
    assert np.log(odds / (1 - odds))[0, 0] == pytest.approx([-3, -2, 1], abs=1e-5)
    alone = group_preferences(ensemble, returns, np.array([[2], [0]]))
    assert np.log(alone / (1 - alone))[0, :, 0] == pytest.approx([1.5, -1.5], abs=1e-5)


def candidates(count=200, seed=0):
    """Pairs of segments of one step, whose preferences are drawn."""
    rng = np.random.default_rng(seed)
    clips = rng.normal(size=(2 * count, 1, 3)).astype(np.float32)
    groups = np.arange(count)[:, None] + np.array([0, count])
    returns = rng.normal(size=(5, 2 * count)).astype(np.float32)
    preferences = rng.random((5, count, 1)).astype(np.float32)
    ages = np.zeros(groups.shape, np.float32)
    # As much as the last layer of `ensemble` reads: 32 hidden units, three curves of each of six columns, and for the
    # potential as many of three observed ones, and a constant.
    hidden = rng.normal(size=(5, 2 * count, 32 + 3 * 6 + 3 * 3 + 1)).astype(np.float32)
    return Candidates(groups, lambda: clips, clips, clips, returns, preferences, ages, None, lambda: hidden)


def select(name, pool, count, ensemble, seed=0):
    return SELECTION_RULES[name](pool, count, ensemble, [], np.random.default_rng(seed))


@pytest.mark.parametrize("name", SELECTION_RULES)
@pytest.mark.parametrize("count", [1, 7, 200, 500])
@pytest.mark.parametrize("fits", [0, 1])
def test_every_rule_gives_as_many_different_pairs_as_there_are(name, count, fits, ensemble):
    ensemble.fits = fits
    chosen = select(name, candidates(), count, ensemble, seed=1)
    assert len(set(chosen.tolist())) == len(chosen) == min(count, 200)


def test_disagreement_asks_what_the_members_dispute(ensemble):
    pool = candidates()
    pool.preferences[:] = 0.5
    pool.preferences[:, [3, 77]] = np.array([0, 1, 0, 1, 0])[:, None, None]
    assert set(select("disagreement", pool, 2, ensemble)) == {3, 77}


def test_entropy_asks_what_is_least_certain(ensemble):
    pool = candidates()
    pool.preferences[:] = 0.95
    pool.preferences[:, [3, 77]] = 0.5
    assert set(select("entropy", pool, 2, ensemble)) == {3, 77}


def value_candidates():
    """Pairs of a recent segment with an earlier one. Members differ about how much better recent ones are."""
    pool = candidates(40)
    pool.ages[:, 1] = np.inf
    pool.returns[:] = 0
    pool.returns[:, :40] = np.array([-2, -1, 0, 1, 2])[:, None]
    # What two pairs show is rated alike by all: recent as earlier.
    pool.returns[:, 40:60] = pool.returns[:, :20]
    # About these they differ far more, and about something else.
    pool.returns[:, [3, 77 - 40]] += 10 * np.array([1, -1, 0, -1, 1])[:, None]
    return pool


def test_value_asks_what_would_tell_how_much_better_the_policy_has_become(ensemble):
    pool = value_candidates()
    # Members differ about how far all of the second half has come, and nowhere else in step with that.
    assert set(select("value", pool, 5, ensemble)) <= {*range(20, 40)}
    assert 3 in select("disagreement", replace(pool, preferences=spread(pool)), 2, ensemble)


def spread(pool):
    left, right = pool.groups.T
    return (pool.returns[:, right] - pool.returns[:, left])[..., None]


def test_value_is_diverse_as_long_as_there_is_nothing_to_compare_with(ensemble):
    for pool in (candidates(), replace(candidates(), ages=np.full((200, 2), np.inf, np.float32))):
        assert select("value", pool, 9, ensemble).tolist() == select("diverse", pool, 9, ensemble).tolist()
    ensemble.fits = 0
    chosen = select("value", value_candidates(), 9, ensemble).tolist()
    assert chosen == select("diverse", value_candidates(), 9, ensemble).tolist()


def test_diverse_selection_does_not_ask_the_same_thing_twice(ensemble):
    pool = candidates(40)
    # Five pairs whose features differ, and 35 that show the same.
    pool.described[:] = 0
    pool.described[:5] = pool.described[40:45] = 10 * np.array(
        [[[1, 0, 0]], [[0, 1, 0]], [[0, 0, 1]], [[1, 1, 0]], [[0, 1, 1]]], np.float32
    )
    pool.preferences[:] = np.linspace(0, 1, 5)[:, None, None]
    chosen = select("diverse", pool, 6, ensemble)
    assert len({tuple(pool.features[pair]) for pair in chosen}) == 6


def test_groups_that_all_show_the_same_are_asked_once_each_and_the_most_disputed_first(ensemble):
    pool = candidates(40)
    pool.described[:] = 0
    chosen = select("diverse", pool, 9, ensemble).tolist()
    assert chosen == select("disagreement", pool, 9, ensemble).tolist()
    assert len(set(chosen)) == 9


def test_near_ties_are_left_out_and_disputes_stay():
    pool = candidates(100)
    pool.preferences[:] = np.linspace(0.5, 0.9, 100)[None, :, None]
    pool.preferences[:, 3] = np.array([0.1, 0.9, 0.5, 0.5, 0.5])[:, None]
    rest = without_near_ties(pool, 0.25)
    assert rest.groups[:, 0].tolist() == [3, *range(26, 100)]
    assert len(rest) == len(rest.ages) == len(rest.features) == 75
    assert (rest.preferences[:, 0] == pool.preferences[:, 3]).all()


@pytest.mark.parametrize("near_ties, asks_ties", [(0.0, True), (0.5, False)])
def test_a_run_asks_no_near_ties_once_there_was_an_answer(near_ties, asks_ties):
    seen = []

    def noted(candidates, count, ensemble, asked, rng):
        seen.append(np.abs(candidates.preferences - 0.5).max(axis=0).mean(axis=1))
        return select_uniform(candidates, count, ensemble, asked, rng)

    config = FeedbackConfig(selection=noted, segment_length=4, near_ties=near_ties)
    ensemble = RewardEnsemble(OBSERVATIONS, ACTIONS, EnsembleConfig(3, (16,)))
    for ensemble.fits in (0, 1):
        chooser = QueryChooser(config, KINDS, HORIZON, seed=0)
        assert len(chooser.choose(rollouts(), ensemble, 0, {"comparison": 6}, 2)) == 8
    before, after = seen
    assert len(after) == (len(before) if asks_ties else len(before) - len(before) // 2)
    assert (after.min() == before.min()) == asks_ties and after.max() == before.max()


def test_where_hardly_any_segment_fits_a_round_asks_no_pair_twice():
    # One whole episode of each copy, as where a segment is as long as an episode.
    recorder = rollouts(steps=HORIZON)
    pairs = recorder.copies * (recorder.copies - 1) // 2
    ensemble = RewardEnsemble(OBSERVATIONS, ACTIONS, EnsembleConfig(3, (16,)))
    chooser = QueryChooser(FeedbackConfig(segment_length=HORIZON), KINDS, HORIZON, seed=0)
    queries = chooser.choose(recorder, ensemble, 0, {"comparison": 4 * pairs}, 0)
    shown = [frozenset(segment.digest for segment in query.segments) for query in queries]
    assert 0 < len(shown) <= pairs and len(set(shown)) == len(shown)


def segments_of(pool):
    return [Segment(clip, clip, np.zeros(1, np.float32)) for clip in pool.observations]


def true_hidden(pool, ensemble):
    """The candidates with the hidden activations and preferences that the ensemble has for them."""
    hidden = ensemble.segment_features(segments_of(pool))
    returns = ensemble.segment_returns(pool.observations, pool.actions)
    preferences = group_preferences(ensemble, returns, pool.groups)
    return replace(pool, returns=returns, preferences=preferences, summarise=lambda: hidden)


def test_returns_are_linear_in_the_hidden_activations(ensemble):
    pool = candidates()
    from_hidden = np.einsum("kmh,kh->km", ensemble.segment_features(segments_of(pool)), ensemble.last_weights)
    returns = ensemble.segment_returns(pool.observations, pool.actions)
    assert returns.std() > 0.01
    np.testing.assert_allclose(returns - returns[:, :1], from_hidden - from_hidden[:, :1], atol=1e-5)


def expected_information(pool, ensemble, queries, group):
    """By the determinants of whole precision matrices."""
    found = []
    for member, own in enumerate(ensemble.last_weights.astype(np.float64)):
        precision = np.eye(len(own)) / np.square(own).mean()
        gains = []
        for pair in [*queries, group]:
            left, right = pool.hidden[member, pool.groups[pair]].astype(np.float64)
            odds = np.exp(own @ (right - left))
            before = np.linalg.slogdet(precision)[1]
            precision = precision + odds / (1 + odds) ** 2 * np.outer(right - left, right - left)
            gains.append((np.linalg.slogdet(precision)[1] - before) / 2)
        found.append(gains[-1])
    return np.mean(found)


@pytest.mark.parametrize("asked", [[], [3, 8, 9]])
def test_information_asks_what_tells_most_beyond_what_was_asked(ensemble, asked):
    pool = true_hidden(candidates(30), ensemble)
    segments = segments_of(pool)
    queries = [Query("", 0, tuple(segments[index] for index in pool.groups[group])) for group in asked]
    chosen = SELECTION_RULES["information"](pool, 4, ensemble, queries, np.random.default_rng(0)).tolist()
    for place, group in enumerate(chosen):
        rest = [other for other in range(30) if other not in chosen[:place]]
        gains = [expected_information(pool, ensemble, asked + chosen[:place], other) for other in rest]
        assert rest[int(np.argmax(gains))] == group


@pytest.mark.parametrize("size", [1, 3])
def test_information_chooses_ratings_and_rankings(size):
    chooser = QueryChooser(FeedbackConfig(selection="information", segment_length=4), KINDS, HORIZON, seed=0)
    ensemble = RewardEnsemble(OBSERVATIONS, ACTIONS, EnsembleConfig(3, (16,)))
    kind = "rating" if size == 1 else "ranking"
    for round in range(3):
        queries = chooser.choose(rollouts(round), ensemble, round, {kind: 6}, 0)
        assert len({query.segments[0].digest for query in queries}) == 6
        chooser.remember(queries)
        ensemble.fits = 1


def test_choosing_10_of_1000_by_information_is_fast():
    ensemble = RewardEnsemble(OBSERVATIONS, ACTIONS, EnsembleConfig(7))
    ensemble.fits = 1
    recorder, rng = rollouts(), np.random.default_rng(0)
    segments = [recorder.segment(recorder.sample_windows(200, 4, rng), index) for index in range(200)]
    asked = [Query("", 0, tuple(segments[index : index + 2])) for index in range(0, 200, 2)]
    pool = make_candidates(ensemble, SegmentPool(recorder, 2500, 4, [], 0, rng), 2, rng)
    assert len(pool) > 1000
    started = time.process_time()
    assert len(choose(SELECTION_RULES["information"], pool, 10, ensemble, asked, rng)) == 10
    # Several times what it takes on an idle machine.
    assert time.process_time() - started < 3


def test_features_of_a_group_do_not_depend_on_the_order():
    clips = described(RISING, FALLING, RISING * 2)
    orders = np.array(list(permutations(range(3))))
    returns, preferences, ages = np.zeros((1, 3)), np.zeros((1, 6, 3)), np.zeros((6, 3))
    features = Candidates(orders, lambda: clips, clips, clips, returns, preferences, ages).features
    assert features == pytest.approx(np.broadcast_to(features[0], features.shape), abs=1e-5)


RULES = """
import numpy as np

seen = []

def last_first(candidates, count, ensemble, asked, rng):
    seen.append((candidates, count, ensemble, ensemble.fits, list(asked), rng))
    return range(len(candidates) - 1, max(len(candidates) - 1 - count, -1), -1)

def nothing_at_first(candidates, count, ensemble, asked, rng):
    return []

def nothing_later(candidates, count, ensemble, asked, rng):
    return [] if asked else range(count)

def too_few_arguments(candidates, count):
    return range(count)

def broken(candidates, count, ensemble, asked, rng):
    return candidates.newest

faults = {
    "twice": lambda candidates, count, *_: [0, 0],
    "beyond": lambda candidates, *_: np.array([len(candidates)]),
    "below": lambda *_: [-1],
    "many": lambda candidates, count, *_: np.arange(count + 1),
    "mask": lambda candidates, *_: np.arange(len(candidates)) < 3,
    "scores": lambda candidates, *_: np.linspace(0, 1, len(candidates)),
    "pairs": lambda candidates, count, *_: candidates.groups[:count],
    "none": lambda *_: None,
    "text": lambda *_: "the first",
}
"""


@pytest.fixture
def make_loop(tmp_path, monkeypatch):
    """Loops whose selection rules are functions of a module of one's own."""
    (tmp_path / "rules_of_mine.py").write_text(RULES)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "rules_of_mine", raising=False)
    with PreferenceStore.create(tmp_path / "feedback.db", environment={}) as store:

        def make(rule):
            config = FeedbackConfig(selection=rule, segment_length=4, past_segment_share=0.5)
            ensemble = RewardEnsemble(OBSERVATIONS, ACTIONS, EnsembleConfig(3, (16,)))
            return FeedbackLoop(store, ensemble, config, HORIZON, annotator=make_annotator("oracle"), fit=FIT)

        yield make


def test_a_rule_of_ones_own_chooses_what_a_loop_asks(make_loop):
    loop = make_loop("rules_of_mine:last_first")
    seen = sys.modules["rules_of_mine"].seen
    report = loop.visit(rollouts(), 1, 1000)
    assert report.asked > 0 and len(seen) == 1
    candidates, count, ensemble, fits, asked, rng = seen[0]
    assert isinstance(candidates, Candidates) and len(candidates) > count == report.asked
    assert ensemble is loop.ensemble and fits == 0 and asked == [] and isinstance(rng, np.random.Generator)
    # Held-out comparisons are chosen uniformly; those to train on in the order in which the rule gave them.
    queries = loop.store.queries(purpose=Purpose.TRAIN)
    for query, group in zip(queries, candidates.groups[::-1], strict=False):
        shown = [segment.observations for segment in query.segments]
        np.testing.assert_array_equal(shown, candidates.observations[group])
    loop.visit(rollouts(1), 400, 1000)
    _, _, _, fits, asked, _ = seen[1]
    assert fits == 1 and [query.key for query in asked] == [query.key for query in queries]


def test_a_rule_knows_how_old_segments_are_and_which_were_asked_about_before(make_loop):
    seen = []

    def newest(candidates, count, ensemble, asked, rng):
        seen.append(candidates)
        return np.argsort(candidates.ages.max(axis=1), kind="stable")[:count]

    loop = make_loop(newest)
    for number, steps in enumerate((1, 400)):
        loop.visit(rollouts(number), steps, 1000)
    first, second = seen
    assert not first.asked_before.any() and second.asked_before.any()
    assert first.ages.shape == first.groups.shape and first.ages.min() >= 4 and first.ages.max() <= 64
    asked = {segment.digest for query in loop.store.queries(round=0) for segment in query.segments}
    fresh = [query for query in loop.store.queries(purpose=Purpose.TRAIN) if query.round]
    assert fresh and not {segment.digest for query in fresh for segment in query.segments} & asked
    old = second.observations[second.groups[second.asked_before][0]]
    assert any(
        np.array_equal(old, segment.observations) for query in loop.store.queries() for segment in query.segments
    )


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("twice", "at most .* different indices of its .* candidates, not one of them twice: "),
        ("beyond", r"not \["),
        ("below", r"not \[-1\]"),
        ("many", "not .* of them"),
        ("mask", r"no array of bool of shape .*; numpy.flatnonzero\(mask\) gives them"),
        ("scores", r"no array of float64 of shape .*; numpy.argsort\(-scores\) gives them"),
        ("pairs", r"no array of int64 of shape \(.*, 2\)"),
        ("none", "no None"),
        ("text", "no str such as 'the first'"),
    ],
)
def test_a_rule_that_gives_no_candidates_is_refused_before_anything_is_asked(make_loop, rule, said):
    make_loop("diverse")
    import_module("rules_of_mine")
    loop = make_loop(sys.modules["rules_of_mine"].faults[rule])
    with pytest.raises(ValueError, match=f"The selection rule <lambda> must return whole numbers, .*{said}"):
        loop.visit(rollouts(), 1, 1000)
    assert loop.store.queries() == []


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("broken", r"raised AttributeError: .*newest.* \(rules_of_mine.py:\d+\)"),
        ("too_few_arguments", "raised TypeError: .*takes 2 positional arguments but 5 were given"),
        ("nothing_at_first", "has chosen none of .* candidates, although .* queries are due and nothing was asked"),
    ],
)
def test_a_fault_of_a_rule_is_told_as_its_own(make_loop, rule, said):
    loop = make_loop(f"rules_of_mine:{rule}")
    with pytest.raises(ValueError, match=f"The selection rule {rule} {said}"):
        loop.visit(rollouts(), 1, 1000)


def test_a_rule_that_chooses_nothing_any_more_is_warned_of_once(make_loop, caplog):
    loop = make_loop("rules_of_mine:nothing_later")
    reports = [loop.visit(rollouts(number), steps, 1000) for number, steps in enumerate((1, 400, 500))]
    assert [report.asked > 0 for report in reports] == [True, False, False]
    [record] = caplog.records
    assert "The selection rule nothing_later has chosen none of" in record.getMessage()


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("diverze", "no selection rule 'diverze'; did you mean 'diverse'"),
        ("rules_of_mine:nothing", "The module rules_of_mine has no nothing"),
        ("rules_of_nobody:rule", "The module of the selection rule 'rules_of_nobody:rule' cannot be imported"),
        ("rules_of_mine:seen", "'rules_of_mine:seen' is no selection rule: it must be an instance of Callable"),
    ],
)
def test_a_rule_that_there_is_not_is_refused_with_the_settings(make_loop, rule, sentence):
    with pytest.raises(ValueError, match=sentence):
        FeedbackConfig(selection=rule)
