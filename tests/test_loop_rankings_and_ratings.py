"""The feedback loop, when a part of what it asks are rankings, ratings, or a kind of one's own."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rlhf_envs.feedback import PreferenceStore, Purpose, ScriptedTeacher, TeacherConfig
from rlhf_envs.kinds import KINDS, Rating
from rlhf_envs.loop import FeedbackConfig, FeedbackLoop
from rlhf_envs.rewards import EnsembleConfig, RewardEnsemble
from tests.test_loop import ACTIONS, FIT, HORIZON, OBSERVATIONS, TOTAL, rollouts, visits

MakeLoop = Callable[..., FeedbackLoop]


class Verdict(Rating):
    """A kind of one's own, which is asked and learned from like a rating."""

    name = "verdict"


class Impostor(Rating):
    """A kind with the name of another one."""

    name = "ranking"


@pytest.fixture
def make_loop(store: PreferenceStore) -> MakeLoop:
    def make(teacher: bool = True, **settings: Any) -> FeedbackLoop:
        chosen: dict[str, Any] = {"answers": 50, "held_out_share": 0.2, "segment_length": 4, **settings}
        ensemble = RewardEnsemble(OBSERVATIONS, ACTIONS, EnsembleConfig(3, (16,)))
        oracle = ScriptedTeacher(TeacherConfig()) if teacher else None
        return FeedbackLoop(store, ensemble, FeedbackConfig(**chosen), HORIZON, annotator=oracle, fit=FIT)

    return make


def asked(store: PreferenceStore) -> Counter[str]:
    return Counter(query.kind for query in store.queries(purpose=Purpose.TRAIN))


def test_the_budget_is_shared_by_the_kinds_and_test_answers_stay_comparisons(
    make_loop: MakeLoop, store: PreferenceStore
) -> None:
    loop = make_loop(kinds={"ranking": 0.25, "rating": 0.25}, kind_settings=("ranking.size=3",))
    reports = visits(loop)
    assert asked(store) == {"comparison": 20, "ranking": 10, "rating": 10}
    assert {query.kind for query in store.queries(purpose=Purpose.TEST)} == {"comparison"}
    shown = {query.kind: len(query.segments) for query in store.queries()}
    assert shown == {"comparison": 2, "ranking": 3, "rating": 1}
    assert loop.dataset.counts == {"comparison": 20, "ranking": 10, "rating": 10}
    assert loop.dataset.annotators == ["oracle"]
    assert loop.finished_asking
    accuracy = reports[-1].test_accuracy
    assert accuracy is not None and accuracy >= 0.7


@pytest.mark.parametrize("kind", ["ranking", "rating"])
def test_one_kind_alone_teaches_the_reward(make_loop: MakeLoop, store: PreferenceStore, kind: str) -> None:
    # As many are held out, so that the share of those that are predicted says something.
    loop = make_loop(kinds={kind: 1.0}, answers=80, held_out_share=0.5)
    reports = visits(loop)
    assert asked(store) == {kind: 40}
    assert reports[-1].labels == len(loop.dataset) == 40
    accuracy = reports[-1].test_accuracy
    assert accuracy is not None and accuracy >= 0.8


@pytest.mark.parametrize(("ranked", "rated"), [(0.5, 0.5), (0.5, 0.1), (0.1, 0.7), (0.0, 1.0), (0.33, 0.0)])
def test_shares_hold_all_along_whatever_the_rounds(ranked: float, rated: float) -> None:
    config = FeedbackConfig(answers=100, held_out_share=0, kinds={"ranking": ranked, "rating": rated})
    total: Counter[str] = Counter()
    for count in (1, 1, 7, 1, 20, 3, 1, 66):
        kinds = config.kind_counts(total.total(), count)
        assert min(kinds.values()) >= 0 and sum(kinds.values()) == count
        total.update(kinds)
        assert abs(total["ranking"] - ranked * total.total()) <= 1
        assert abs(total["rating"] - rated * total.total()) <= 1


def test_the_scale_of_ratings_stays_as_it_was_in_the_first_round_also_after_resuming(
    make_loop: MakeLoop, store: PreferenceStore
) -> None:
    first = make_loop(kinds={"rating": 1.0}, queries_per_round=4, ask_until=1.0)
    first.visit(rollouts(0), 100, TOTAL)
    state = first.state()
    resumed = make_loop(kinds={"rating": 1.0}, queries_per_round=4, ask_until=1.0)
    resumed.restore(state)
    resumed.visit(rollouts(1), 500, TOTAL)
    ratings = store.queries(purpose=Purpose.TRAIN)
    assert len({query.round for query in ratings}) == 2
    scales = {(query.context["reward_middle"], query.context["reward_scale"]) for query in ratings}
    assert len(scales) == 1
    true_rewards = rollouts(0).latest()[2]
    assert scales.pop() == pytest.approx(
        (true_rewards.mean() + 2 * true_rewards.std(), 4 * true_rewards.std()), rel=0.05
    )


def test_segments_of_a_ranking_are_shown_in_no_order_of_their_age(make_loop: MakeLoop, store: PreferenceStore) -> None:
    loop = make_loop(kinds={"ranking": 1.0}, answers=60, past_segment_share=1.0, queries_per_round=10, held_out_share=0)
    visits(loop)
    seen: set[str] = set()
    places: Counter[int] = Counter()
    for query in store.queries(purpose=Purpose.TRAIN):
        places.update(place for place, segment in enumerate(query.segments) if segment.digest in seen)
        seen |= {segment.digest for segment in query.segments}
    assert places.total() > 10
    assert set(places) == {0, 1, 2, 3}


def test_skipped_rankings_and_ratings_teach_nothing(make_loop: MakeLoop, store: PreferenceStore) -> None:
    loop = make_loop(
        teacher=False,
        kinds={"ranking": 0.5, "rating": 0.5},
        answers=4,
        initial_share=1.0,
        held_out_share=0,
        wait_for_answers=True,
    )

    def answer(_awaited: str) -> None:
        if (query := store.take("ann")) is None or query.id is None:
            return
        if query.key.endswith("0"):
            store.answer(query.id, "ann", "skip")
        elif query.kind == "ranking":
            store.answer(query.id, "ann", None, payload={"ranking": [3, 1, 0, 2]})
        else:
            store.answer(query.id, "ann", None, payload={"ratings": [-1, 0, 0.5, 1]})

    loop.on_wait = answer
    assert loop.visit(rollouts(), 1, TOTAL).labels == 2
    assert loop.dataset.labels("ranking").rows.tolist() == [[0, 1, 2, 3, -1]]
    assert loop.dataset.labels("rating").targets.tolist() == [[-1, 0, 0.5, 1]]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"kinds": {"rating": -0.1}}, "shares from 0 to 1"),
        ({"kinds": {"rating": 0.6, "ranking": 0.6}}, "at most 1 together"),
        ({"kinds": {"rating": float("nan")}}, "shares from 0 to 1"),
        ({"kind_settings": ("ranking.size=1",)}, "shows 2 to 5 segments, not 1"),
        ({"kind_settings": ("ranking.size=6",)}, "shows 2 to 5 segments, not 6"),
    ],
)
def test_impossible_shares_and_sizes_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        FeedbackConfig(**settings)


@pytest.fixture
def own_kinds() -> Iterator[None]:
    """Forgets the kinds that a test registers."""
    before = set(KINDS)
    yield
    for name in set(KINDS) - before:
        KINDS.unregister(name)


def test_a_kind_of_ones_own_is_asked_and_learned_from_by_its_place(
    make_loop: MakeLoop, store: PreferenceStore, own_kinds: None
) -> None:
    place = f"{__name__}:Verdict"
    loop = make_loop(kinds={place: 0.5}, kind_settings=(f"{place}.gamma=0.5", "verdict.weight=2"))
    visits(loop)
    assert asked(store) == loop.dataset.counts == {"comparison": 20, "verdict": 20}
    verdict = loop.config.resolved_kinds()["verdict"]
    assert isinstance(verdict, Verdict) and (verdict.gamma, verdict.weight) == (0.5, 2.0)
    assert KINDS["verdict"] == Verdict()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"kinds": {"rankin": 0.5}}, "There is no kind of feedback 'rankin'; did you mean 'ranking'"),
        ({"kinds": {"nowhere:Thing": 0.5}}, "'nowhere:Thing' cannot be imported"),
        ({"kinds": {f"{__name__}:HORIZON": 0.5}}, "must be an instance of FeedbackKind"),
        ({"kinds": {f"{__name__}:Impostor": 0.5}}, "There is a kind of feedback 'ranking' already"),
        ({"kind_settings": ("size=3",)}, "is written as \"KIND.NAME=VALUE\", not 'size=3'"),
        ({"kind_settings": ("rankin.size=3",)}, "There is no kind of feedback 'rankin'; did you mean 'ranking'"),
        ({"kind_settings": ("ranking.sizes=3",)}, "where NAME is one of size, weight"),
        ({"kind_settings": ("ranking.size",)}, "'ranking.size' is no setting of a kind of feedback"),
        ({"kind_settings": ("ranking.size=many",)}, "'ranking.size=many' cannot be set: invalid literal"),
        ({"kind_settings": ("rating.gamma=2",)}, "'rating.gamma=2' cannot be set: "),
    ],
)
def test_kinds_and_settings_that_there_are_not_are_refused_in_one_sentence(
    settings: dict[str, Any], sentence: str, own_kinds: None
) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)) as refused:
        FeedbackConfig(**settings)
    assert "\n" not in str(refused.value)


def test_one_copy_must_have_room_for_all_segments_of_a_ranking() -> None:
    config = FeedbackConfig(segment_length=10, kinds={"ranking": 0.1}, kind_settings=("ranking.size=5",))
    config.check_fits(50, copies=1)
    with pytest.raises(ValueError, match="cannot give 5 segments of 10"):
        config.check_fits(49, copies=1)
