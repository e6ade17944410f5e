"""Labelled pairs are what answers imply; datasets and NumPy read them without this library, and they come back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from rlhf_envs.archive import PairsFile, export_pairs, export_store, import_archive, import_pairs
from rlhf_envs.cli import archive as command
from rlhf_envs.evaluation.reward_model import agreement_with_truth
from rlhf_envs.feedback import PreferenceStore, Purpose, Query
from rlhf_envs.rewards import PreferenceDataset, RewardEnsemble
from rlhf_envs.segments import Segment
from tests.answers import give_answer
from tests.archive.stores import ask, new_store, segment


@pytest.fixture
def source(source: Path) -> Path:
    """The store of the other tests with a held-out answer that prefers something."""
    with PreferenceStore.open(source) as store:
        held_out = ask(store, "2/test/0", 8, purpose=Purpose.TEST)
        give_answer(store, held_out, "ann", "left", answered_at=20.0)
    return source


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Hugging Face's datasets, without a network and with a cache of its own."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    return datasets


# ann right, bob/b tie, and the three pairs of a ranking; the undone answer, the skip and the rating imply none.
TRAINED = [("ann", 1.0), ("bob/b", 0.5), ("bob/b", 0.0), ("bob/b", 0.0), ("bob/b", 0.0)]


def said(path: Path) -> list[tuple[str, float, Purpose]]:
    found = PairsFile.find(path)
    assert found is not None
    return [(pair.annotator, pair.label, pair.purpose) for pair in found]


def test_hugging_face_datasets_reads_a_folder_without_this_library(source: Path, tmp_path: Path, offline: Any) -> None:
    assert export_pairs(source, tmp_path / "pairs") == {"train": 5, "test": 1}
    loaded = offline.load_dataset(str(tmp_path / "pairs"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 5, "test": 1}
    assert [(row["annotator"], row["label"]) for row in loaded["train"]] == TRAINED
    row = loaded["train"][0]
    shown = [segment(1000), segment(1001)]
    np.testing.assert_array_equal(np.array(row["observations"], np.float32), shown[0].observations)
    np.testing.assert_array_equal(np.array(row["observations_2"], np.float32), shown[1].observations)
    np.testing.assert_array_equal(np.array(row["actions_2"]).reshape(-1), shown[1].actions)
    np.testing.assert_array_equal(np.array(row["rewards"], np.float32), shown[0].true_rewards)
    # A ranking says first which of its segments is better: 2 over 0 over 1.
    assert loaded["train"][2]["observations"][0] == pytest.approx(segment(3002).observations[0].tolist())


def test_the_card_names_the_tables_and_is_yaml(source: Path, tmp_path: Path, offline: Any) -> None:
    export_pairs(source, tmp_path / "pairs")
    export_store(source, tmp_path / "exported", clips=False)
    for folder, default in (("pairs", "default"), ("exported", "answers")):
        text = (tmp_path / folder / "README.md").read_text()
        header = yaml.safe_load(text.split("---")[1])
        assert header["configs"][0]["config_name"] == default and header["size_categories"] == ["n<1K"]
        assert "CartPole-v1" in header["pretty_name"] and header["task_categories"] == ["reinforcement-learning"]
    answers = offline.load_dataset(str(tmp_path / "exported"), "answers", split="train")
    segments = offline.load_dataset(str(tmp_path / "exported"), "segments", split="train")
    assert (
        "left" in answers["choice"]
        and len(segments) == json.loads((tmp_path / "exported" / "manifest.json").read_text())["counts"]["segments"]
    )


def test_a_numpy_file_has_the_keys_of_offline_preference_learning(source: Path, tmp_path: Path) -> None:
    export_pairs(source, tmp_path / "pairs.npz")
    with np.load(tmp_path / "pairs.npz", allow_pickle=False) as file:
        batch = dict(file)
    assert {"observations", "actions", "observations_2", "actions_2", "labels", "timestep_1", "timestep_2"} <= set(
        batch
    )
    assert batch["observations"].shape == batch["observations_2"].shape == (6, 4, 4)
    assert batch["labels"].tolist() == [[0, 1], [0.5, 0.5], [1, 0], [1, 0], [1, 0], [1, 0]]
    assert batch["held_out"].tolist() == [False] * 5 + [True]
    assert batch["timestep_1"][0].tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(batch["observations_2"][0], segment(1001).observations)


@pytest.mark.parametrize("name", ["pairs", "pairs.npz"])
def test_pairs_come_back_and_teach_what_the_answers_taught(source: Path, tmp_path: Path, name: str) -> None:
    export_pairs(source, tmp_path / name)
    assert said(tmp_path / name) == [
        *((annotator, label, Purpose.TRAIN) for annotator, label in TRAINED),
        ("ann", 0.0, Purpose.TEST),
    ]
    found = PairsFile.find(tmp_path / name)
    assert found is not None and import_pairs(found, tmp_path / "back.db") == 6
    with PreferenceStore.open(source) as before, PreferenceStore.open(tmp_path / "back.db") as back:
        assert back.environment == before.environment
        assert [len(back.live_answers(purpose)) for purpose in (Purpose.TRAIN, Purpose.TEST)] == [5, 1]
        [first, *_] = back.queries(purpose=Purpose.TRAIN)
        assert [one.digest for one in first.segments] == [segment(1000).digest, segment(1001).digest]
        env = back.environment.required.make()
        dataset = PreferenceDataset(RewardEnsemble(env.observation_space, env.action_space).encoder)
        env.close()
        assert dataset.add_answers(back.each_live_answer(Purpose.TRAIN), back) == 5


def test_names_of_people_are_replaced_where_that_is_wanted(source: Path, tmp_path: Path) -> None:
    for name in ("pairs", "pairs.npz"):
        export_pairs(source, tmp_path / name, pseudonyms=True)
        assert {annotator for annotator, _, _ in said(tmp_path / name)} == {"A1", "A2"}


def test_dict_observations_pictures_and_ends_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def shown() -> Segment:
        observations = {"camera": rng.integers(256, size=(6, 3, 3), dtype=np.uint8), "speed": rng.normal(size=(6, 1))}
        observations["camera"][4:], observations["speed"][4:] = 0, 0
        absorbing = np.arange(6) >= 4
        return Segment(observations, np.zeros((6, 2), np.float32), np.ones(6, np.float32), absorbing=absorbing)

    pair = shown(), shown()
    with new_store(tmp_path / "source.db") as store:
        give_answer(store, store.ask([Query("0", 0, pair)])[0], "ann", "right")
    for name in ("pairs", "pairs.npz"):
        export_pairs(tmp_path / "source.db", tmp_path / name)
        found = PairsFile.find(tmp_path / name)
        assert found is not None
        [back] = found
        assert (back.first.digest, back.second.digest) == (pair[0].digest, pair[1].digest)


def test_pairs_of_others_need_no_more_than_the_common_keys(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {f"observations{end}": rng.normal(size=(3, 5, 2)).astype(np.float32) for end in ("", "_2")}
    arrays |= {f"actions{end}": rng.normal(size=(3, 5, 1)).astype(np.float32) for end in ("", "_2")}
    np.savez(tmp_path / "others.npz", **arrays, labels=np.array([[1, 0], [0, 1], [0.5, 0.5]]))  # type: ignore[arg-type]
    assert command.main(["import", "--from", str(tmp_path / "others.npz"), "--store", str(tmp_path / "own.db")]) == 0
    with PreferenceStore.open(tmp_path / "own.db") as store:
        assert [str(live.choice) for live in store.live_answers()] == ["left", "right", "tie"]
        assert {live.annotator for live in store.live_answers()} == {"unknown"}


def test_what_cannot_be_written_or_read_is_refused_in_one_sentence(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with new_store(tmp_path / "empty.db") as store:
        give_answer(store, ask(store, "0", 1), "ann", "skip")
    export_pairs(source, tmp_path / "pairs.npz")
    with np.load(tmp_path / "pairs.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "keys.npz", **{name: each for name, each in arrays.items() if name != "actions_2"})
    np.savez(tmp_path / "label.npz", **arrays | {"labels": arrays["labels"] * 3})
    np.savez(tmp_path / "pickled.npz", **arrays | {"annotators": np.array([{}] * 6, object)})
    (tmp_path / "text.npz").write_text("text")
    back = ["--store", str(tmp_path / "back.db")]
    for words, sentence in (
        (["pairs", "--store", str(tmp_path / "empty.db"), "--to", str(tmp_path / "none")], "there are no pairs"),
        (["pairs", "--store", str(source), "--to", str(tmp_path / "pairs.npz")], "is there already"),
        (["pairs", "--to", str(tmp_path / "x")], "Say what to export"),
        (["import", "--from", str(tmp_path / "keys.npz"), *back], "there is no 'actions_2'"),
        (["import", "--from", str(tmp_path / "label.npz"), *back], "no probability"),
        (["import", "--from", str(tmp_path / "pickled.npz"), *back], "makes no sense"),
        (["import", "--from", str(tmp_path / "text.npz"), *back], "is no NumPy file"),
        (["import", "--from", str(tmp_path / "pairs.npz"), "--store", str(source)], "name a new store"),
    ):
        with pytest.raises(SystemExit):
            command.main(words)
        error = capsys.readouterr().err
        assert sentence in error and error.startswith("Error: ") and error.count("\n") == 1
    assert not (tmp_path / "back.db").exists() and not (tmp_path / "none").exists()
    assert not list(tmp_path.glob("*.unfinished"))


def test_the_example_of_the_documentation_is_read_and_says_that_it_is_no_study_of_people(
    tmp_path: Path, offline: Any
) -> None:
    example = Path(__file__).resolve().parents[2] / "docs" / "example_dataset"
    import_archive(example, tmp_path / "example.db")
    assert export_pairs(tmp_path / "example.db", tmp_path / "pairs") == {"train": 38}
    answers = offline.load_dataset(str(example), "answers", split="train")
    assert set(answers["annotator"]) == {"example-script"} and len(answers) == 44
    # By a rule that reads the truth, so that a reader of the format sees what can be learned from it.
    with PreferenceStore.open(tmp_path / "example.db") as store:
        assert agreement_with_truth(store.each_live_answer(Purpose.TRAIN), store) == {"example-script": (34, 34)}
    sheet = " ".join((example / "DATASHEET.md").read_text().split())
    assert "no study of people" in sheet and "Add:" not in sheet + (example / "README.md").read_text()
