"""Exports come back into stores: new ones, ones with queries of their own, and the one that they are from."""

from pathlib import Path
from typing import Any

import pytest

from rlhf_envs.archive import ImportReport, StoreSnapshot, export_store, import_archive, import_records, importing
from rlhf_envs.feedback import AnnotatorSession, Choice, PreferenceStore, Purpose
from rlhf_envs.queries import Correction
from tests.answers import give_answer
from tests.archive.stores import ask, contents, new_store, said


def test_a_new_store_gets_the_same_queries_answers_undos_and_segments(source: Path, exported: Path) -> None:
    report = import_archive(exported, exported.parent / "new.db")
    assert report == ImportReport(queries=5, answers=7, known_queries=0, known_answers=0, new_store=True)
    assert contents(exported.parent / "new.db") == contents(source)


def test_a_new_store_goes_on_where_the_old_one_stood(source: Path, exported: Path) -> None:
    import_archive(exported, exported.parent / "new.db")
    with PreferenceStore.open(exported.parent / "new.db") as store:
        assert give_answer(store, 1, "ann", "left", token="browser-1") == 1
        undone = store.undo("ann")
        assert undone is not None and undone.undoes == 7
        check = store.take("bob/b")
        assert check is not None and check.purpose is Purpose.CHECK


def test_importing_twice_adds_nothing(exported: Path) -> None:
    import_archive(exported, exported.parent / "new.db")
    before = contents(exported.parent / "new.db")
    report = import_archive(exported, exported.parent / "new.db")
    assert report == ImportReport(queries=0, answers=0, known_queries=5, known_answers=7, new_store=False)
    assert contents(exported.parent / "new.db") == before


def test_importing_into_the_store_it_is_from_adds_nothing(source: Path, exported: Path) -> None:
    before = contents(source)
    assert import_archive(exported, source).known_answers == 7
    assert contents(source) == before


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A store of the same environment with a run of its own, whose keys are the same."""
    path = tmp_path / "other.db"
    with new_store(path) as store:
        give_answer(store, ask(store, "0/train/0", 100), "ann", "left", answered_at=12.5, token="browser-1")
        ask(store, "3/train/0", 101, round=3)
    return path


def test_a_store_with_queries_of_its_own_keeps_them_and_gets_the_others(other: Path, exported: Path) -> None:
    before = contents(other)
    report = import_archive(exported, other)
    after = contents(other)
    assert report == ImportReport(queries=5, answers=7, known_queries=0, known_answers=0, new_store=False)
    assert after["queries"][:2] == before["queries"] and after["answers"][:1] == before["answers"]
    assert said(other) == [
        ("ann", Choice.LEFT, None),
        ("ann", Choice.RIGHT, None),
        ("bob/b", Choice.TIE, None),
        ("oracle", Choice.SKIP, None),
        ("bob/b", None, {"ranking": [2, 0, 1]}),
        ("ann", None, {"ratings": [0.25, -1.0, 1.0, 0.1], "speed": 2}),
    ]
    undo = after["answers"][2]
    assert undo.undoes == after["answers"][1].id


def test_imported_queries_never_pass_for_those_of_a_run(other: Path, exported: Path) -> None:
    before = contents(other)
    import_archive(exported, other)
    with PreferenceStore.open(other) as store:
        assert ask(store, "1/train/0", 102, round=1) > 7
        assert [query.key for query in store.queries(round=3)] == ["3/train/0"]
    imported = contents(other)["queries"][len(before["queries"]) : -1]
    assert [query[2] for query in imported] == [0] * 5
    assert all(query[1].startswith("import/") for query in imported)


def test_a_repeated_pair_names_the_pair_that_it_repeats_by_its_new_number(other: Path, exported: Path) -> None:
    import_archive(exported, other)
    with PreferenceStore.open(other) as store:
        check = store.queries(purpose=Purpose.CHECK)[0]
        assert check.context == {"repeats": 3, "swapped": True}
        assert store.query(3).key.endswith("/0/train/0")


def test_a_correction_names_the_query_that_it_corrects_by_its_new_number(tmp_path: Path, other: Path) -> None:
    path = tmp_path / "corrected.db"
    with new_store(path) as store:
        pair = ask(store, "0/train/0", 1)
        done = store.query(pair).segments[1]
        AnnotatorSession(store, "ann").correct(Correction(pair, 0, 2, done, 1.0, 2.0, "token-1"))
    export_store(path, tmp_path / "with-correction", clips=False)
    import_archive(tmp_path / "with-correction", other)
    with PreferenceStore.open(other) as store:
        corrected, correction = store.queries()[-2:]
        assert correction.context == {"corrects": corrected.id, "position": 0, "step": 2}
        assert corrected.id != pair and store.live_answers()[-1].query_id == correction.id


def test_a_later_export_adds_only_what_is_new(source: Path, exported: Path, other: Path) -> None:
    import_archive(exported, other)
    with PreferenceStore.open(source) as store:
        store.undo("ann", now=20.0)
        give_answer(store, 4, "ann", None, payload={"ratings": [0.0] * 4}, answered_at=21.0)
        give_answer(store, ask(store, "2/train/0", 8), "eve", "left", answered_at=22.0)
    export_store(source, exported.parent / "later", clips=False)
    report = import_archive(exported.parent / "later", other)
    assert report == ImportReport(queries=1, answers=3, known_queries=5, known_answers=7, new_store=False)
    assert said(other)[-2:] == [("ann", None, {"ratings": [0.0] * 4}), ("eve", Choice.LEFT, None)]
    assert import_archive(exported.parent / "later", other).answers == 0


def test_what_came_by_import_is_known_again_where_it_came_from(source: Path, exported: Path, other: Path) -> None:
    import_archive(exported, other)
    export_store(other, exported.parent / "both", clips=False)
    report = import_archive(exported.parent / "both", source)
    assert report == ImportReport(queries=2, answers=1, known_queries=5, known_answers=7, new_store=False)


def test_another_environment_is_refused(exported: Path) -> None:
    with new_store(exported.parent / "longer.db", segment_length=20):
        pass
    with pytest.raises(ValueError, match=r"about segment_length = 20, and .* about 4; import it into a store"):
        import_archive(exported, exported.parent / "longer.db")


def test_the_same_answers_under_other_names_are_refused(source: Path, exported: Path) -> None:
    export_store(source, exported.parent / "masked", clips=False, pseudonyms=True)
    before = contents(source)
    with pytest.raises(
        ValueError, match="is an answer of ann in the store; import an export in which annotators have the same"
    ):
        import_archive(exported.parent / "masked", source)
    assert contents(source) == before


def test_two_copies_that_went_on_differently_are_refused(source: Path, exported: Path) -> None:
    new = exported.parent / "new.db"
    import_archive(exported, new)
    for path, choice in ((source, "left"), (new, "right")):
        with PreferenceStore.open(path) as store:
            give_answer(store, 1, "eve", choice)
    export_store(source, exported.parent / "later", clips=False)
    before = contents(new)
    with pytest.raises(ValueError, match="contradict each other about the answer of eve to query 1"):
        import_archive(exported.parent / "later", new)
    assert contents(new) == before


def test_an_import_that_ends_half_way_is_done_by_the_next_one(
    source: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    new = exported.parent / "new.db"
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(importing, "_Merge", interrupt)
        import_archive(exported, new)
    assert contents(new)["queries"] == []
    import_archive(exported, new)
    assert contents(new) == contents(source)


def test_a_run_that_has_only_begun_is_not_taken_for_an_empty_store(exported: Path) -> None:
    with new_store(exported.parent / "run.db") as store:
        report = import_archive(exported, exported.parent / "run.db")
        assert (report.new_store, report.queries) == (False, 5)
        assert ask(store, "0/train/0", 50) == 6


def test_a_store_can_be_copied_without_files_between(source: Path, tmp_path: Path) -> None:
    with StoreSnapshot(source) as rows:
        import_records(rows, tmp_path / "copy.db")
    assert contents(tmp_path / "copy.db") == contents(source)
