"""People judge blind, at the window and on the page, and what they say is kept like every other answer."""

import json
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pygame
import pytest

from rlhf_envs.cli import judge as judge_command
from rlhf_envs.cli.flags import ScreenFlags
from rlhf_envs.envs.canvas import Canvas
from rlhf_envs.evaluation.judging.session import PURPOSES, ClipRecorder, JudgingConfig, judge
from rlhf_envs.feedback import Choice, PreferenceStore, Purpose, StoreError, web
from tests.sb3.environments import Walk

COMPARISONS = 3
PATIENCE = 60.0
SHORT = JudgingConfig(clip_seconds=0.5, comparisons=COMPARISONS)
ANN = ScreenFlags(annotator="ann", annotators=("ann",))


class Person(threading.Thread):
    """Presses return and left at the window until so many answers are stored, and then escape until it closes."""

    def __init__(self, store: Path, answers: int) -> None:
        super().__init__(daemon=True)
        self.store, self.answers = store, answers
        self.gone = threading.Event()

    def run(self) -> None:
        give_up_at = time.monotonic() + PATIENCE
        while not self.gone.wait(0.05):
            goes_on = self._given() < self.answers and time.monotonic() < give_up_at
            # Whoever is new reads first what is asked, and goes on by return.
            keys = (pygame.K_RETURN, pygame.K_LEFT) if goes_on else (pygame.K_ESCAPE,)
            with suppress(pygame.error):  # there is no window yet, or no longer
                for key in keys:
                    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key, mod=0, unicode=""))

    def _given(self) -> int:
        if not self.store.exists():
            return 0
        with suppress(StoreError), PreferenceStore.open(self.store) as store:
            return len(store.live_answers(Purpose.JUDGE))
        return 0


def sit_down(run: Path, answers: int, config: JudgingConfig = SHORT) -> Any:
    person = Person(run / "judgements.db", answers)
    person.start()
    try:
        return judge(run, ("expert", "random"), lambda store: ANN.open_window(store, PURPOSES), config)
    finally:
        person.gone.set()
        person.join()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that is drawn anywhere from now on."""
    texts: list[str] = []
    draw = Canvas.text

    def noted(self: Canvas, x: float, y: float, text: str, *arguments: Any, **keywords: Any) -> Any:
        texts.append(str(text))
        return draw(self, x, y, text, *arguments, **keywords)

    monkeypatch.setattr(Canvas, "text", noted)
    return texts


def test_a_person_judges_at_the_window_without_learning_whose_clips_these_are(run: Path, drawn: list[str]) -> None:
    found = sit_down(run, COMPARISONS)
    with PreferenceStore.open(run / "judgements.db") as store:
        answers = store.live_answers(Purpose.JUDGE)
    assert [(live.annotator, live.choice) for live in answers] == [("ann", Choice.LEFT)] * COMPARISONS
    assert all(live.shown_at is not None and live.answered_at > live.shown_at for live in answers)
    assert found.answers == COMPARISONS and found.open == 0 and list(found.annotators) == ["ann"]
    assert any("answered" in text for text in drawn), "the window's texts were not seen"
    keys = {str(live.context[side]) for live in answers for side in ("left", "right")}
    names = keys | {policy.name for policy in found.policies}
    assert len(names) == 4
    assert not [(name, text) for name in names for text in drawn if name.lower() in text.lower()]


def test_closing_the_window_leaves_the_rest_for_later_and_shows_what_there_is(run: Path) -> None:
    config = JudgingConfig(clip_seconds=0.5, comparisons=12)
    first = sit_down(run, 1, config)
    assert 1 <= first.answers < 12 and first.open == 12 - first.answers
    second = sit_down(run, first.answers + 1, config)
    assert second.answers > first.answers and second.answers + second.open == 12


def test_the_page_tells_no_more_than_the_window(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    testclient = pytest.importorskip("fastapi.testclient")
    told: list[str] = []

    def somebody_answers(store: PreferenceStore, **settings: Any) -> None:
        app = web.create_app(store, clip_folder=settings["clip_folder"], purposes=settings["purposes"])
        headers = {"Authorization": f"Bearer {app.state.tokens.create(settings['annotators'][0])}"}
        with testclient.TestClient(app, headers=headers) as page:
            told.append(page.get("/api/me").text)
            while queries := page.get("/api/queries").json()["queries"]:
                told.append(json.dumps(queries))
                film = page.get(queries[0]["clips"][1])
                assert film.status_code == 200 and film.headers["content-type"] == "video/mp4"
                told.append(str(film.headers))
                given = {"query": queries[0]["id"], "choice": "tie", "token": f"token-{queries[0]['id']:04}"}
                assert page.post("/api/answers", json=given).status_code == 200
                told.append(page.get("/api/progress").text)

    monkeypatch.setattr(web, "serve", somebody_answers)
    found = judge(run, ("expert", "random"), lambda store: ANN.serve_page(store, PURPOSES, run / "clips"), SHORT)
    assert [(pair.ties, pair.rate) for pair in found.pairs] == [(1, 0.5)] * 3
    names = {name for policy in found.policies for name in (policy.name, policy.key)}
    assert len(told) == 1 + 3 * COMPARISONS and len(names) == 4
    assert not [(name, text) for name in names for text in told if name.lower() in text.lower()]


def test_without_a_screen_nothing_is_begun(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pygame.display.quit()
    monkeypatch.setenv("SDL_VIDEODRIVER", "nowhere")
    with pytest.raises(SystemExit) as stopped:
        judge_command.main(["--run-dir", str(run), "--feedback", "window"])
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and "use --feedback web" in said and said.count("\n") == 1
    assert not (run / "judgements.db").exists()


@pytest.mark.filterwarnings("ignore:.*render_mode:UserWarning")  # Gymnasium's own, about the same
def test_an_environment_that_cannot_be_shown_is_not_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Walk, "metadata", {"render_modes": [], "render_fps": 12})
    walk: dict[str, Any] = {"environment": "tests.sb3.environments:test/Walk-v0", "clip_seconds": 1.0, "moments": 2}
    with pytest.raises(ValueError, match="cannot be shown to people"):
        ClipRecorder(**walk, needs_pictures=True)
    with closing(ClipRecorder(**walk, needs_pictures=False)) as recorder:
        assert recorder.length == 12
