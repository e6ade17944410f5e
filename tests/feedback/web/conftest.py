"""A store with short clips, the server on a free port, and a real browser on it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rlhf_envs.feedback import PreferenceStore, Query
from rlhf_envs.feedback.practice import practice_pairs
from rlhf_envs.segments import Segment
from tests.feedback.web.screens import ENVIRONMENT, PATIENCE, Screen, Served


@pytest.fixture(scope="session")
def segments() -> list[Segment]:
    return [segment for pair in practice_pairs(ENVIRONMENT, 4) for segment in (pair.good, pair.bad)]


@pytest.fixture
def make_queries(segments: list[Segment]) -> Callable[..., list[Query]]:
    def make(count: int, kind: str = "comparison", shown: int = 2, **fields: Any) -> list[Query]:
        return [
            Query(
                f"{kind}/{fields.get('purpose', 'train')}/{number}",
                0,
                tuple(segments[(number + position) % len(segments)] for position in range(shown)),
                kind=kind,
                **fields,
            )
            for number in range(count)
        ]

    return make


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore.create(tmp_path / "feedback.db", environment=ENVIRONMENT, patience=5.0) as made:
        yield made


@pytest.fixture
def served(store: PreferenceStore, tmp_path: Path) -> Iterator[Served]:
    running = Served(store, tmp_path / "clips")
    yield running
    running.stop()


@pytest.fixture
def new_context(browser: Any) -> Iterator[Callable[..., Any]]:
    opened = []

    def make(**options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | options)
        context.set_default_timeout(PATIENCE)
        opened.append(context)
        return context

    yield make
    for context in opened:
        context.close()


@pytest.fixture
def open_screen(new_context: Callable[..., Any]) -> Iterator[Callable[..., Screen]]:
    opened: list[Screen] = []

    def make(link: str, **options: Any) -> Screen:
        screen = Screen(new_context(**options).new_page(), link)
        opened.append(screen)
        return screen

    yield make
    assert not [problem for screen in opened for problem in screen.problems]
