"""A window over a store of drivers, moved on by the test and used with real events."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pygame
import pytest

from rlhf_envs.clips import snapshot_source
from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.feedback import AnnotatorSession, PreferenceStore, Query
from rlhf_envs.feedback.window import open_window
from rlhf_envs.segments import Segment

LENGTH = 5
PATIENCE = 60.0
CLIPS = {"comparison": 2, "ranking": 4, "rating": 1, "strength": 2}


class WindowUser:
    """A person at the window: presses keys and clicks, and waits until something can be seen."""

    def __init__(self, window: Any, session: AnnotatorSession) -> None:
        self.window, self.session = window, session

    @property
    def view(self) -> Any:
        return self.window.screen.view(time.perf_counter())

    @property
    def query(self) -> str | None:
        """The key of the query whose clips are on screen."""
        screen = self.window.screen
        return screen.query.key if screen.clips is not None and screen.query is not None else None

    @property
    def places(self) -> tuple[int | None, ...]:
        """The place of each clip of a ranking, from 1."""
        question = self.window.screen.question
        return tuple(question.order.index(n) + 1 if n in question.order else None for n in range(question.clips))

    @property
    def clips(self) -> Any:
        """Where the clips are."""
        return self.window.layout.arrangement.clips

    def until(self, condition: Callable[[], Any]) -> Any:
        give_up_at = time.monotonic() + PATIENCE
        while not (met := condition()):
            assert time.monotonic() < give_up_at, "what was waited for did not happen"
            self.window.tick()
        return met

    def ticks(self, count: int = 3) -> None:
        for _ in range(count):
            self.window.tick()

    def sees(self, key: str | None) -> None:
        """Wait until this query is on screen, for long enough to be judged."""
        self.until(lambda: self.query == key)
        if key is not None:
            began = self.window.screen._began
            self.until(lambda: time.perf_counter() > began + 0.13)

    def press(self, *keys: int) -> None:
        for key in keys:
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key, mod=0, unicode=""))
            self.ticks(1)

    def release(self, key: int) -> None:
        pygame.event.post(pygame.event.Event(pygame.KEYUP, key=key, mod=0))
        self.ticks(1)

    def click(self, place: tuple[int, int]) -> None:
        for kind in (pygame.MOUSEBUTTONDOWN, pygame.MOUSEBUTTONUP):
            pygame.event.post(pygame.event.Event(kind, pos=place, button=1))
        self.ticks(2)

    def control(self, label: str) -> tuple[int, int]:
        [place] = [placed.rect.center for placed in self.window.layout.controls if placed.control.label == label]
        return (place[0], place[1])

    def answers(self) -> list[Any]:
        return self.session.store.live_answers()

    def stored(self, count: int) -> list[Any]:
        """Wait until so many answers stand in the store."""
        return list(self.until(lambda: answers if len(answers := self.answers()) == count else None))


@pytest.fixture(scope="session")
def drives() -> list[Segment]:
    """Ten short stretches of driving, with what is needed to draw them."""
    env: Any = gym.make_vec("rlhf/Driving-v1", num_envs=10)
    env.action_space.seed(0)
    env.reset(seed=0)
    source = snapshot_source(env)
    assert source is not None
    captured = np.zeros((LENGTH, source.size), np.uint8)
    for row in captured:
        source.capture(row)
        env.step(env.action_space.sample())
    blank = np.zeros((LENGTH, 1), np.float32)
    return [Segment(blank + row, blank, blank[:, 0], source.extract(captured, row)) for row in range(10)]


@pytest.fixture
def store(path: Path) -> Iterator[PreferenceStore]:
    environment = StoredEnvironment(EnvironmentRef("rlhf/Driving-v1"), LENGTH)
    with PreferenceStore.create(path, environment, patience=0.2) as made:
        yield made


@pytest.fixture
def ask(store: PreferenceStore, drives: list[Segment]) -> Callable[..., list[int]]:
    """Asks queries with these keys."""

    def ask(*keys: str, kind: str = "comparison", clips: int | None = None) -> list[int]:
        count = clips or CLIPS[kind]
        return store.ask([Query(key, 0, tuple(drives[n : n + count]), kind) for n, key in enumerate(keys)])

    return ask


@pytest.fixture
def open_for_user(store: PreferenceStore) -> Iterator[Callable[..., WindowUser]]:
    """Opens the window for a person and waits until the first query is on screen."""
    with ExitStack() as windows:

        def open_for_user(
            sees: str | None = None, lease_seconds: float = 60.0, practice: bool = False, **settings: Any
        ) -> WindowUser:
            session = AnnotatorSession(store, "ann", lease_seconds=lease_seconds, practice=practice)
            settings = {"size": (640, 440), "speed": 4.0} | settings
            user = WindowUser(windows.enter_context(open_window(session, **settings)), session)
            if practice:  # whoever is new reads first what it is about
                assert user.view.summary and user.query is None
                user.press(pygame.K_RETURN)
            user.sees(sees)
            return user

        yield open_for_user
