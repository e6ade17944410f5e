"""One annotator's session at the store, and what the store does for it."""

from pathlib import Path
from typing import Any

import pytest

from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.feedback import AnnotatorSession, PreferenceStore, Purpose, Query
from rlhf_envs.feedback.practice import PRACTICE_ROUND, known_answer, practice_pairs
from rlhf_envs.feedback.store.status import TRAINING
from rlhf_envs.queries import DEMONSTRATOR
from tests.answers import give_answer


def test_upcoming_queries_stay_the_same_until_they_are_answered(store: PreferenceStore, make_query: Any) -> None:
    store.ask([make_query(str(number)) for number in range(4)])
    session = AnnotatorSession(store, "ann", ahead=3)
    first = [query.key for query in session.upcoming()]
    assert first == ["0", "1", "2"] == [query.key for query in session.upcoming()]
    session.answer(session.upcoming()[0].id, "left")
    assert [query.key for query in session.upcoming()] == ["1", "2", "3"]
    assert session.undo() is not None
    assert session.upcoming()[0].key == "0"


def test_a_pair_is_asked_again_of_who_answered_it_and_of_nobody_else(store: PreferenceStore, make_query: Any) -> None:
    store.ask([make_query(str(number)) for number in range(12)])
    session = AnnotatorSession(store, "ann", ahead=1, repeat_rate=1.0)
    shown = []
    while upcoming := session.upcoming():
        shown.append(upcoming[0])
        session.answer(upcoming[0].id, "left")
    checks = [query for query in shown if query.purpose is Purpose.CHECK]
    assert len(checks) >= 6
    assert {query.context["swapped"] for query in checks} == {True, False}
    by_id = {query.id: query for query in shown}
    for check in checks:
        original = by_id[check.context["repeats"]]
        sides = original.segment_ids[::-1] if check.context["swapped"] else original.segment_ids
        assert check.segment_ids == sides
        assert shown.index(check) - shown.index(original) > 5
    assert len({check.context["repeats"] for check in checks}) == len(checks)
    assert AnnotatorSession(store, "bob").upcoming() == []


@pytest.mark.parametrize(("budget", "checks"), [(13, 0), (16, 3), (1000, 7)])
def test_no_pair_is_asked_again_once_the_budget_of_answers_is_spent(
    store: PreferenceStore, make_query: Any, budget: int, checks: int
) -> None:
    # Of these 14 queries people are asked 13: one is for the demonstrator, whose answers are none of the budget.
    store.ask([make_query(str(number)) for number in range(12)])
    store.ask([make_query("practice", purpose=Purpose.PRACTICE, only_for="bob")])
    store.ask([make_query("demonstration", only_for=DEMONSTRATOR)])
    store.post_status(TRAINING, {"answers": budget})
    session = AnnotatorSession(store, "ann", ahead=1, repeat_rate=1.0)
    while upcoming := session.upcoming():
        session.answer(upcoming[0].id, "left")
        if store.counts()[Purpose.CHECK].asked == 7:
            break
    assert store.counts()[Purpose.CHECK].asked == checks


def test_practice_and_judging_are_shown_only_to_who_asks_for_them(store: PreferenceStore, make_query: Any) -> None:
    store.ask([make_query("p", purpose=Purpose.PRACTICE), make_query("j", purpose=Purpose.JUDGE), make_query("t")])
    assert [query.key for query in store.take_many("ann", 9)] == ["t"]
    assert [query.key for query in store.take_many("ann", 9, purposes=[Purpose.JUDGE])] == ["j"]
    assert store.take("ann", kinds=["rating"]) is None


def test_one_annotators_answers_are_counted_without_the_others(store: PreferenceStore, make_query: Any) -> None:
    ids = store.ask([make_query(str(number)) for number in range(3)])
    for id in ids:
        give_answer(store, id, "ann", "left", shown_at=float(id), answered_at=float(id) + 1)
    give_answer(store, store.ask([make_query("b")])[0], "bob", "right")
    store.undo("ann")
    tally = store.tally("ann", latest=1)
    assert (tally.given, tally.seconds) == (2, (1.0,))
    assert [live.query_id for live in store.live_answers(annotator="ann")] == ids[:2]


def test_progress_tells_pace_and_what_training_says(store: PreferenceStore, make_query: Any) -> None:
    store.ask([make_query(str(number)) for number in range(3)])
    session = AnnotatorSession(store, "ann")
    assert session.progress().seconds_per_answer is None and session.progress().training is None
    store.post_status(TRAINING, {"timesteps": 5})
    store.post_status(TRAINING, {"timesteps": 7})
    for start, seconds in ((0.0, 2.0), (10.0, 4.0), (20.0, 900.0)):
        session.answer(session.upcoming()[0].id, "left", shown_at=start, answered_at=start + seconds)
    progress = session.progress()
    assert (progress.own_answers, progress.answered, progress.asked) == (3, 3, 3)
    assert progress.seconds_per_answer == 3.0
    assert progress.training == {"timesteps": 7}


def test_progress_is_measured_by_the_budget_that_the_run_tells(store: PreferenceStore, make_query: Any) -> None:
    store.ask([make_query(str(number)) for number in range(9)])
    session = AnnotatorSession(store, "ann")
    assert session.progress().wanted == 9
    for told, wanted in (
        ({"answers": 30}, 30),
        # Of the 21 answers that are left, 10 queries have two each.
        ({"answers": 30, "overlap": 2}, 19),
        ({"answers": 30, "overlap": "two"}, 30),
        ({"answers": 5}, 9),
        ({"answers": None}, 9),
        ({"answers": "many"}, 9),
    ):
        store.post_status(TRAINING, told)
        assert session.progress().wanted == wanted


def test_who_leaves_a_session_keeps_nothing_from_others(store: PreferenceStore, make_query: Any) -> None:
    store.ask([make_query(str(number)) for number in range(2)])
    session = AnnotatorSession(store, "ann")
    assert session.upcoming() and not store.take_many("bob", 2)
    session.leave()
    assert [query.key for query in AnnotatorSession(store, "bob").upcoming()] == ["0", "1"]


def test_a_screen_that_would_get_nothing_takes_over_what_another_holds_and_does_not_show(
    store: PreferenceStore, make_query: Any
) -> None:
    store.ask([make_query(str(number)) for number in range(3)])
    ann, bob, cyd, dan = (AnnotatorSession(store, name) for name in ("ann", "bob", "cyd", "dan"))
    first, second, third = (query.id for query in ann.upcoming())
    assert [query.id for query in ann.upcoming(showing=second)] == [second, first, third]
    # Code that takes queries gets only those that are free.
    assert store.take_many("code", 3) == []
    assert [query.id for query in bob.upcoming()] == [third]
    assert [query.id for query in cyd.upcoming()] == [first]
    assert dan.upcoming() == []
    assert [query.id for query in ann.upcoming(showing=second)] == [second]
    # What was under way all the same is stored.
    ann.answer(third, "left")
    assert bob.upcoming() == []


def test_what_is_on_screen_is_no_way_to_what_is_for_others(store: PreferenceStore, make_query: Any) -> None:
    [own, others] = store.ask([make_query("a"), make_query("b", only_for="bob")])
    ann = AnnotatorSession(store, "ann")
    assert [query.id for query in ann.upcoming(showing=others)] == [own]
    assert [query.id for query in AnnotatorSession(store, "cyd").upcoming(showing=own)] == []


def test_an_answer_that_was_taken_back_is_not_taken_over(store: PreferenceStore, make_query: Any) -> None:
    store.ask([make_query("a"), make_query("b")])
    ann = AnnotatorSession(store, "ann")
    first, second = (query.id for query in ann.upcoming())
    ann.answer(first, "left")
    ann.upcoming(showing=second)
    ann.undo()
    assert [query.id for query in ann.upcoming(showing=second)] == [second, first]
    assert AnnotatorSession(store, "bob").upcoming() == []


@pytest.mark.parametrize("wrong", [{"annotator": " "}, {"ahead": 0}, {"repeat_rate": 1.5}])
def test_a_session_refuses_settings_without_sense(store: PreferenceStore, wrong: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"annotator": "ann"} | wrong
    with pytest.raises(ValueError, match=r"annotator|ahead|repeat_rate"):
        AnnotatorSession(store, **arguments)


def test_a_screen_is_handed_only_queries_of_kinds_that_it_can_show(store: PreferenceStore, make_query: Any) -> None:
    ranking = make_query("r", segments=make_query("r").segments * 2, kind="ranking")
    store.ask([ranking, make_query("c")])
    session = AnnotatorSession(store, "ann")
    assert [query.key for query in session.upcoming(["comparison", "rating"])] == ["c"]
    assert [query.key for query in session.upcoming(["ranking"])] == ["r"]
    assert session.upcoming([]) == []


def test_a_session_begins_with_the_practice_round_and_comes_back_to_it_after_an_undo(tmp_path: Path) -> None:
    environment = StoredEnvironment(EnvironmentRef("rlhf/Recommender-v1"), 5)
    with PreferenceStore.create(tmp_path / "feedback.db", environment) as store:
        [pair] = practice_pairs(environment, 1)
        store.ask([Query("a", 0, (pair.good, pair.bad))])
        session = AnnotatorSession(store, "ann", practice=True)
        practised = 0
        while (query := session.upcoming()[0]).purpose is Purpose.PRACTICE:
            practised += 1
            known = known_answer(query)
            assert known is not None and known.explanation("top").startswith("The reference answer is the top one")
            session.answer(query.id or 0, known.choice)
        assert practised == PRACTICE_ROUND and query.key == "a" and known_answer(query) is None
        assert session.progress().own_answers == 0
        session.undo()
        assert session.upcoming()[0].key == f"practice/ann/{PRACTICE_ROUND - 1}"
        judging = AnnotatorSession(store, "eve", purposes=[Purpose.JUDGE], practice=True)
        assert judging.upcoming() == []


def test_an_environment_that_fails_to_practise_holds_up_nobody(
    store: PreferenceStore, make_query: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: Any) -> int:
        raise RuntimeError("the expert has a bug")

    monkeypatch.setattr("rlhf_envs.feedback.session.ask_practice", broken)
    store.ask([make_query("a")])
    assert [query.key for query in AnnotatorSession(store, "ann", practice=True).upcoming()] == ["a"]
    assert "the expert has a bug" in caplog.text
