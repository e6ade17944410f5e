"""What an export holds, for people who have nothing but the files."""

import hashlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import av
import gymnasium as gym
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

import rlhf_envs  # noqa: F401 - registers the environments
from rlhf_envs.archive import Archive, StoreSnapshot, export_store, import_archive, tables
from rlhf_envs.clips import snapshot_source
from rlhf_envs.environment import StoredEnvironment
from rlhf_envs.feedback import PreferenceStore, Query, StoreMissingError
from rlhf_envs.kinds import KINDS, Comparison
from rlhf_envs.kinds.kind import Column
from rlhf_envs.segments import Segment
from tests.answers import give_answer
from tests.archive.stores import ENVIRONMENT, ask, contents, fill, new_store, segment
from tests.trainer import ROOT


def rows(folder: Path, table: str) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = pq.read_table(folder / f"{table}.parquet").to_pylist()
    return read


def test_answers_can_be_read_without_this_library(exported: Path) -> None:
    answers = rows(exported, "answers")
    assert [(row["annotator"], row["choice"], row["undoes"]) for row in answers] == [
        ("ann", "left", None),
        ("ann", None, 1),
        ("ann", "right", None),
        ("bob/b", "tie", None),
        ("oracle", "skip", None),
        ("bob/b", None, None),
        ("ann", None, None),
    ]
    assert answers[0]["reasons"] == ["upright"]
    assert (answers[0]["shown_at"], answers[0]["answered_at"]) == (10.0, 12.5)
    assert answers[5]["ranking"] == [2, 0, 1] and answers[5]["payload"] is None
    assert answers[6]["ratings"] == [0.25, -1.0, 1.0, 0.1] and json.loads(answers[6]["payload"]) == {"speed": 2}


def test_queries_can_be_read_without_this_library(exported: Path) -> None:
    queries = rows(exported, "queries")
    assert [(row["key"], row["kind"], row["purpose"], len(row["segments"])) for row in queries] == [
        ("0/train/0", "comparison", "train", 2),
        ("0/test/0", "comparison", "test", 2),
        ("0/train/1", "ranking", "train", 3),
        ("1/train/0", "rating", "train", 1),
        ("check/bob/b/1", "comparison", "check", 2),
    ]
    assert json.loads(queries[0]["context"]) == {"average_return": 0.5}


def test_segments_can_be_read_without_this_library(source: Path, exported: Path) -> None:
    with PreferenceStore.open(source) as store:
        first = store.segment(1)
    row = rows(exported, "segments")[0]
    assert np.array_equal(np.array(row["observations"], np.float32), first.observations)
    assert np.array_equal(np.concatenate(row["actions"]), first.actions)
    assert np.array_equal(np.array(row["true_rewards"], np.float32), first.true_rewards)
    layout = json.loads(row["layout"])["states"]
    states = np.frombuffer(b"".join(row["states"]), layout["dtype"]).reshape(layout["shape"])
    assert np.array_equal(states, first.states)
    assert row["frames"] is None


def test_the_example_of_the_documentation_reads_an_export(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example, *_ = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "data.md").read_text(), re.DOTALL)
    monkeypatch.chdir(exported.parent)
    names: dict[str, Any] = {}
    exec(compile(example, "data.md", "exec"), names)
    assert ([1, 2], "right") in names["compared"] and len(names["standing"]) == 5
    assert names["observations"].shape == (4, 4) and names["states"].shape == (4, 5)


def test_the_manifest_describes_every_file_and_the_spaces(exported: Path) -> None:
    manifest = json.loads((exported / "manifest.json").read_text())
    for name, said in manifest["files"].items():
        content = (exported / name).read_bytes()
        assert said == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert manifest["environment"] == StoredEnvironment.from_json(ENVIRONMENT).to_json()
    assert manifest["counts"]["queries"] == 5 and manifest["counts"]["standing_answers"] == 5
    cart_pole = gym.make("CartPole-v1")
    assert Archive(exported).spaces() == (cart_pole.observation_space, cart_pole.action_space)


def test_the_datasheet_counts_what_is_there(exported: Path) -> None:
    text = (exported / "DATASHEET.md").read_text()
    assert "| comparison | train | 1 | 2 |" in text
    assert "| comparison | right | 1 | 33.3% |" in text and "| left |" not in text
    assert "| ann | 2 |" in text and "| bob/b | 2 |" in text
    assert "1 of 5 queries without a standing answer" in text
    assert "1 answer taken back" in text
    assert "1970-01-01 00:00 to 1970-01-01 00:00" in text


AWKWARD = np.array([0.0, -0.0, np.nan, np.inf, 1e-45, -np.nan], np.float32)
AWKWARD.view(np.uint32)[2] = 0x7FC12345
PICTURES = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
SEGMENTS: dict[str, tuple[Any, NDArray[Any], NDArray[Any] | None, NDArray[np.uint8] | None]] = {
    "awkward numbers": (AWKWARD.reshape(2, 3), np.array([[0.5], [-0.0]], np.float32), None, None),
    "pictures": (PICTURES, np.array([0, 3]), None, PICTURES),
    "a dict": (
        {"seen": PICTURES[:, 0], "a.b/c": np.ones((2, 2, 2)), "flag": np.array([True, False])},
        np.array([[1, 2], [3, 4]]),
        np.zeros((2, 7), np.uint8),
        None,
    ),
    "halves": (np.ones((2, 1), np.float16), np.ones((2, 1), np.float64), np.zeros((2, 0)), None),
}


@pytest.mark.parametrize("kind", SEGMENTS)
def test_segments_of_every_kind_come_back_bit_for_bit(kind: str, tmp_path: Path) -> None:
    observations, actions, states, frames = SEGMENTS[kind]
    first = Segment(observations, actions, AWKWARD[:2], states, frames)
    second = Segment(observations, actions, AWKWARD[3:5], states, None)
    with new_store(tmp_path / "source.db") as store:
        store.ask([Query("0/train/0", 0, (first, second))])
    export_store(tmp_path / "source.db", tmp_path / "exported", clips=False)
    import_archive(tmp_path / "exported", tmp_path / "new.db")
    with PreferenceStore.open(tmp_path / "new.db") as store:
        assert [segment.to_bytes() for segment in store.queries()[0].segments] == [first.to_bytes(), second.to_bytes()]


class Sureness(Comparison):
    """A kind of feedback that a user might add: a comparison with how sure its annotator is."""

    name = "sureness"
    columns: ClassVar[Mapping[str, Column]] = {"sure": "text", "marks": "numbers"}


def test_a_kind_of_ones_own_is_exported_with_its_columns_and_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as registered:
        registered.setitem(KINDS._parts, "sureness", Sureness())
        payloads = [{"sure": "very", "marks": [1, 0.5]}, {"sure": 3, "why": "it is calm"}]
        with new_store(tmp_path / "source.db") as store:
            for number, payload in enumerate(payloads):
                query = ask(store, f"0/train/{number}", number, kind="sureness")
                give_answer(store, query, "ann", "left", payload=payload, answered_at=1.0)
        export_store(tmp_path / "source.db", tmp_path / "exported", clips=False)
        first, second = rows(tmp_path / "exported", "answers")
        assert (first["sure"], first["marks"], first["payload"]) == ("very", [1.0, 0.5], None)
        assert (second["sure"], json.loads(second["payload"])) == (None, payloads[1])
        assert "ranking" not in first
        import_archive(tmp_path / "exported", tmp_path / "new.db")
        assert contents(tmp_path / "new.db") == contents(tmp_path / "source.db")
        assert import_archive(tmp_path / "exported", tmp_path / "source.db").known_answers == 2
    with pytest.raises(ValueError, match="queries of the kind 'sureness', which is not registered here: import the"):
        Archive(tmp_path / "exported")


def test_two_kinds_cannot_share_a_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Order(Comparison):
        name = "order"
        columns: ClassVar[Mapping[str, Column]] = {"undoes": "text"}

    monkeypatch.setitem(KINDS._parts, "order", Order())
    with new_store(tmp_path / "source.db") as store:
        ask(store, "0/train/0", kind="order")
    with pytest.raises(ValueError, match="'order' has an archive column 'undoes', which every archive has already"):
        export_store(tmp_path / "source.db", tmp_path / "exported", clips=False)


def test_segments_of_several_kinds_are_refused(tmp_path: Path) -> None:
    with new_store(tmp_path / "source.db") as store:
        ask(store, "0/train/0")
        other = Segment(np.zeros((4, 4)), np.zeros(4, np.int64), np.zeros(4, np.float32))
        store.ask([Query("0/train/1", 0, (other, other))])
    with pytest.raises(ValueError, match="Segment 3 holds observations of float64, actions of int64"):
        export_store(tmp_path / "source.db", tmp_path / "exported", clips=False)
    assert list(tmp_path.glob("*exported*")) == []


def test_many_segments_are_written_in_groups(tmp_path: Path) -> None:
    with new_store(tmp_path / "source.db") as store:
        shown = [tuple(segment(5 * number + place) for place in range(5)) for number in range(500)]
        store.ask([Query(f"0/train/{number}", 0, some, "ranking") for number, some in enumerate(shown)])
    export_store(tmp_path / "source.db", tmp_path / "exported", clips=False)
    assert pq.ParquetFile(tmp_path / "exported" / "segments.parquet").num_row_groups == 3
    assert sum(1 for _ in Archive(tmp_path / "exported").segments()) == 2500


def test_an_export_tells_after_every_clip_how_many_of_how_many_are_made(tmp_path: Path) -> None:
    with new_store(tmp_path / "source.db") as store:
        shown = [
            Segment(np.full((4, 4), place, np.float32), np.zeros(4, np.int64), np.ones(4, np.float32), np.zeros((4, 4)))
            for place in range(4)
        ]
        store.ask([Query("0/train/0", 0, tuple(shown), "ranking")])
    told: list[tuple[int, int, int]] = []

    def count_clips(done: int, all: int) -> None:
        told.append((done, all, len(list(tmp_path.glob(".exported.*/exported/clips/*.mp4")))))

    export_store(tmp_path / "source.db", tmp_path / "exported", on_segments=count_clips)
    assert told == [(number, 4, number) for number in (1, 2, 3, 4)]


def test_what_is_answered_during_an_export_is_left_for_the_next_one(source: Path, tmp_path: Path) -> None:
    before = contents(source)
    with StoreSnapshot(source) as moment, PreferenceStore.open(source) as store:
        late = ask(store, "2/train/0", 9)
        give_answer(store, late, "ann", "left")
        store.undo("ann")
        assert [row.id for row in moment.queries()] == [query[0] for query in before["queries"]]
        assert [row.id for row in moment.answers()] == [answer.id for answer in before["answers"]]
        assert {id for id, _ in moment.segments()} == set(before["segments"])


def test_an_export_that_ends_half_way_leaves_nothing(source: Path, tmp_path: Path) -> None:
    def interrupt(done: int, all: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_store(source, tmp_path / "exported", clips=False, on_segments=interrupt)
    assert {path.name for path in tmp_path.iterdir()} <= {"source.db", "source.db-wal", "source.db-shm"}


def test_an_export_that_is_killed_leaves_nothing_under_its_name(source: Path, tmp_path: Path) -> None:
    script = (
        "import os, sys; from rlhf_envs.archive import export_store; die = lambda *_: os.kill(os.getpid(), 9); "
        "export_store(sys.argv[1], sys.argv[2], clips=False, on_segments=die)"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(source), str(tmp_path / "exported")], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "exported").exists()
    export_store(source, tmp_path / "exported", clips=False)
    assert len(rows(tmp_path / "exported", "answers")) == 7


def test_nothing_is_overwritten_and_nothing_is_exported_from_nowhere(source: Path, exported: Path) -> None:
    with pytest.raises(ValueError, match="exported is there already; name a new folder"):
        export_store(source, exported)
    with pytest.raises(StoreMissingError):
        export_store(exported / "missing.db", exported.parent / "other")
    with new_store(exported / "empty.db"):
        pass
    with pytest.raises(ValueError, match="holds no query, so there is nothing to export"):
        export_store(exported / "empty.db", exported.parent / "other")
    assert not (exported.parent / "other").exists()


def test_people_go_by_pseudonyms_wherever_they_are_named(source: Path, tmp_path: Path) -> None:
    with PreferenceStore.open(source) as store:
        ask(store, "judge/0", 7, context={"judges": ["ann", "A1"], "by": {"bob/b": 1}}, only_for="A1")
    export_store(source, tmp_path / "masked", clips=False, pseudonyms=True)
    everything = json.dumps([rows(tmp_path / "masked", table) for table in ("queries", "answers")])
    everything += (tmp_path / "masked" / "DATASHEET.md").read_text()
    assert "ann" not in everything.replace("annotator", "") and "bob" not in everything
    assert "browser" not in everything
    answers = rows(tmp_path / "masked", "answers")
    assert [row["annotator"] for row in answers] == ["A1", "A1", "A1", "A2", "oracle", "A2", "A1"]
    queries = rows(tmp_path / "masked", "queries")
    assert (queries[4]["key"], queries[4]["only_for"]) == ("check/A2/1", "A2")
    assert json.loads(queries[5]["context"]) == {"judges": ["A1", "A3"], "by": {"A2": 1}}


def test_clips_are_films_named_by_their_segment(tmp_path: Path) -> None:
    env: Any = gym.make_vec("rlhf/Recommender-v1", num_envs=1)
    env.reset(seed=0)
    source = snapshot_source(env)
    captured = np.zeros((5, source.size), np.uint8)
    for state in captured:
        source.capture(state)
        env.step(env.action_space.sample())
    shown = Segment(np.zeros((5, 3), np.float32), np.zeros(5), np.zeros(5, np.float32), source.extract(captured, 0))
    hidden = Segment(np.ones((5, 3), np.float32), np.zeros(5), np.zeros(5, np.float32))
    with new_store(tmp_path / "source.db", id="rlhf/Recommender-v1", horizon=None) as store:
        store.ask([Query("0/train/0", 0, (shown, hidden))])
    export_store(tmp_path / "source.db", tmp_path / "exported")
    assert [row["clip"] for row in rows(tmp_path / "exported", "segments")] == ["clips/segment-000001.mp4", None]
    with av.open(str(tmp_path / "exported" / "clips" / "segment-000001.mp4")) as film:
        frames = list(film.decode(video=0))
    assert len(frames) == 5 and (frames[0].width, frames[0].height) == (300, 200)
    assert "1 segment recorded with neither states nor frames" in (tmp_path / "exported" / "DATASHEET.md").read_text()


def test_a_store_that_names_no_environment_is_exported_without_clips_and_spaces(tmp_path: Path) -> None:
    with PreferenceStore.create(tmp_path / "source.db", StoredEnvironment(segment_length=4)) as store:
        fill(store)
    with pytest.raises(ValueError, match="does not say which environment it is about; leave them out with --no-clips"):
        export_store(tmp_path / "source.db", tmp_path / "exported")
    export_store(tmp_path / "source.db", tmp_path / "exported", clips=False)
    assert Archive(tmp_path / "exported").spaces() is None


def test_without_pyarrow_one_sentence_says_what_to_install(
    source: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "pa", None)
    with pytest.raises(ValueError, match=r"pip install 'rlhf-envs\[data\]'"):
        export_store(source, exported.parent / "other")
    with pytest.raises(ValueError, match=r"pip install 'rlhf-envs\[data\]'"):
        Archive(exported)
