"""Stores with answers of every kind, and what two of them have in common."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rlhf_envs.environment import StoredEnvironment
from rlhf_envs.feedback import Choice, PreferenceStore, Purpose, Query
from rlhf_envs.segments import Segment
from tests.answers import give_answer

ENVIRONMENT = {"id": "CartPole-v1", "kwargs": {}, "segment_length": 4, "horizon": 500, "on_termination": "terminate"}


def segment(seed: int, steps: int = 4) -> Segment:
    """A segment as one of CartPole-v1."""
    rng = np.random.default_rng(seed)
    observations = rng.normal(size=(steps, 4)).astype(np.float32)
    return Segment(
        observations, rng.integers(2, size=steps), np.float32(observations[:, 0]), rng.normal(size=(steps, 5))
    )


def ask(store: PreferenceStore, key: str, seed: int = 0, count: int = 2, **fields: Any) -> int:
    shown = tuple(segment(1000 * seed + place) for place in range(count))
    return store.ask([Query(key, fields.pop("round", 0), shown, **fields)], fields.pop("wanted", 2))[0]


def fill(store: PreferenceStore) -> None:
    """Every kind of query, answer and undo, by two people and a scripted teacher."""
    pair = ask(store, "0/train/0", 1, context={"average_return": 0.5})
    give_answer(store, pair, "ann", "left", reasons=["upright"], shown_at=10.0, answered_at=12.5, token="browser-1")
    store.undo("ann", now=13.0, token="browser-2")
    give_answer(store, pair, "ann", "right", shown_at=13.0, answered_at=15.0)
    give_answer(store, pair, "bob/b", "tie", answered_at=15.0)
    give_answer(store, ask(store, "0/test/0", 2, purpose=Purpose.TEST), "oracle", "skip", answered_at=16.0)
    ranking = ask(store, "0/train/1", 3, 3, kind="ranking")
    give_answer(store, ranking, "bob/b", None, payload={"ranking": [2, 0, 1]}, answered_at=17.0)
    rating = ask(store, "1/train/0", 4, 1, kind="rating", round=1)
    give_answer(store, rating, "ann", None, payload={"ratings": [0.25, -1.0, 1.0, 0.1], "speed": 2}, answered_at=18.0)
    check = {"repeats": pair, "swapped": True}
    ask(store, "check/bob/b/1", 5, purpose=Purpose.CHECK, context=check, only_for="bob/b")


@contextmanager
def new_store(path: Path | str, **environment: Any) -> Iterator[PreferenceStore]:
    with PreferenceStore.create(path, StoredEnvironment.from_json(ENVIRONMENT | environment)) as store:
        yield store


def contents(path: Path | str) -> dict[str, Any]:
    """All that a store shows of itself, in values that can be compared."""
    with PreferenceStore.open(path) as store:
        queries = store.queries()
        return {
            "environment": store.environment.to_json(),
            "queries": [
                (query.id, query.key, query.round, query.kind, query.purpose, query.context, query.only_for)
                for query in queries
            ],
            "shown": [query.segment_ids for query in queries],
            "segments": {
                id: shown.to_bytes()
                for query in queries
                for id, shown in zip(query.segment_ids, query.segments, strict=True)
            },
            "answers": store.read_since(0)[0],
            "live": store.live_answers(),
            "counts": store.counts(),
        }


def said(path: Path | str) -> list[tuple[str, Choice | None, Any]]:
    """Who said what, of the answers that stand."""
    return [(live.annotator, live.choice, live.payload) for live in contents(path)["live"]]
