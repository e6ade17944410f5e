"""A training run and annotators in processes of their own meet in one PostgreSQL database."""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rlhf_envs.feedback import PreferenceStore, Purpose, StoreClaimedError, StoreMissingError
from rlhf_envs.feedback.store.database import stores_in
from tests.feedback.postgresql import empty_database

ROOT = Path(__file__).parents[2]


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", *words]


def test_a_run_is_answered_by_two_processes_at_once(postgresql_server: str, tmp_path: Path) -> None:
    with empty_database(postgresql_server) as url:
        run = tmp_path / "run"
        trainer = subprocess.Popen(
            command(
                *("scripts.train", "--env", "CartPole-v1", "--run-dir", str(run), "--store", url),
                *("--feedback", "elsewhere", "--wait-for-answers", "--overlap", "2"),
                *("--answers", "96", "--timesteps", "12000", "--horizon", "50", "--evaluation-episodes", "2"),
                *("--learner.num-envs", "4", "--learner.n-steps", "128", "--learner.batch-size", "128"),
            ),
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        label = ["rlhf_envs", "label", "--run-dir", str(run), "--feedback", "oracle", "--annotator"]
        annotators = []
        try:
            while not (run / "config.json").exists() and trainer.poll() is None:
                pass
            annotators = [subprocess.Popen(command(*label, name), cwd=ROOT) for name in ("ann", "bob")]
            _, said = trainer.communicate(timeout=300)
            assert trainer.returncode == 0, said
            assert all(process.poll() is None for process in annotators)
        finally:
            trainer.kill()
            for process in annotators:
                process.terminate()
                process.wait()
        with PreferenceStore.open(url) as store:
            answers = store.live_answers(Purpose.TRAIN)
            assert Counter(live.annotator for live in answers) == {"ann": 48, "bob": 48}
            assert store.counts()[Purpose.TRAIN].answered == 48
            assert store.statuses()["training"].value["state"] == "finished"
        assert not (run / "feedback.db").exists()
        assert (run / "report.html").exists()


def test_stores_of_several_trainers_share_a_database(postgresql_server: str, make_query: Any) -> None:
    with empty_database(postgresql_server) as url:
        places = [f"{url}?schema=run_{name}" for name in ("a", "b")]
        first, second = (PreferenceStore.create(place, run=name) for place, name in zip(places, "ab", strict=True))
        with first, second:
            # Each has one trainer of its own.
            first.claim_for_training()
            second.claim_for_training()
            with PreferenceStore.open(places[0]) as again, pytest.raises(StoreClaimedError, match="schema=run_a"):
                again.claim_for_training()
            first.ask([make_query("a question")])
            assert second.ask([make_query("another"), make_query("a question")]) == [1, 2]
            taken = first.take("ann")
            assert taken is not None and taken.id is not None
            first.answer(taken.id, "ann", "left")
            assert (len(first.live_answers()), len(second.live_answers())) == (1, 0)
        for place, name in zip(places, "ab", strict=True):
            with PreferenceStore.open(place) as opened:
                assert opened.run == name
        assert stores_in(url) == places
        for no_database in (places[1], "sqlite:///feedback.db", "feedback.db"):
            with pytest.raises(ValueError, match="Stores share a PostgreSQL database"):
                stores_in(no_database)
        with pytest.raises(StoreMissingError, match="schema=run_c"):
            PreferenceStore.open(f"{url}?schema=run_c")


@pytest.mark.parametrize("place", ["postgresql://host/labels?schema=Mine", "sqlite:///file.db?schema=mine"])
def test_a_schema_that_cannot_be_is_refused(place: str) -> None:
    with pytest.raises(ValueError, match="A schema is one of a PostgreSQL database"):
        PreferenceStore.create(place)
