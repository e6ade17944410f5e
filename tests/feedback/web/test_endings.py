"""How a run ends for those who answer: nothing vanishes, and everybody reads what became of their answers."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from rlhf_envs.feedback import AnnotatorSession, PreferenceStore, Purpose
from rlhf_envs.feedback.progress import session_progress
from rlhf_envs.feedback.store.status import TRAINING
from rlhf_envs.queries import Query
from tests.feedback.web.screens import PATIENCE, Screen, practised, wait_until

FINISHED = {
    "state": "finished",
    "timesteps": 507_904,
    "total_timesteps": 500_000,
    "test_accuracy": 0.875,
    "accuracy_from": "out of fold",
    "curve": [[1000, -3.0, 0.5], [507_904, 12.5, 0.875]],
}


def test_who_looks_at_the_last_pair_finishes_it_and_reads_the_end_although_the_server_goes(
    store: PreferenceStore, make_queries: Any, open_screen: Callable[..., Screen]
) -> None:
    [pair] = make_queries(1)
    store.ask([pair])
    practised(store, "ann")
    store.post_status(TRAINING, {"state": "training", "answers": 2})
    words = ["--store", store.database.place, "--feedback", "web", "--port", "0", "--annotators", "ann"]
    command = [sys.executable, "-m", "rlhf_envs", "label", *words, "--until-finished"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, ExitStack() as cleanup:
        cleanup.callback(server.kill)
        assert server.stdout is not None
        link = next(line for line in server.stdout if "personal link of ann" in line).split()[-1]
        screen = open_screen(link)
        first = screen.query()
        check = Query(
            "check/ann/1", 0, pair.segments, purpose=Purpose.CHECK, context={"repeats": first}, only_for="ann"
        )
        store.ask([check])
        store.post_status(TRAINING, FINISHED)
        screen.press("ArrowLeft", first)
        screen.page.get_by_text("All done, thank you").wait_for()
        summary = screen.page.locator(".summary")
        summary.wait_for()
        assert "2" in summary.inner_text() and "+15.5 an episode" in summary.inner_text()
        assert "88%" in summary.inner_text()
        assert "2 of 2 ·" in screen.text("#counts")  # the repeated pair is withdrawn, and no more is asked
        assert server.wait(PATIENCE / 1000) == 0
        screen.page.evaluate("dispatchEvent(new Event('online'))")
        screen.page.wait_for_timeout(3000)
        assert not screen.page.locator("#banner").is_visible()
    assert len(store.live_answers()) == 2


def test_a_repeated_pair_on_screen_may_be_finished_after_the_end(store: PreferenceStore, make_queries: Any) -> None:
    [pair] = make_queries(1)
    [id] = store.ask([Query("check/ann/1", 0, pair.segments, purpose=Purpose.CHECK, only_for="ann")])
    ann = AnnotatorSession(store, "ann")
    assert [query.id for query in ann.upcoming()] == [id]
    store.post_status(TRAINING, FINISHED)
    assert ann.upcoming() == [] and [query.id for query in ann.upcoming(showing=id)] == [id]
    ann.answer(id, "left")
    progress = ann.progress()
    assert progress.answered == progress.wanted
    wait_until(lambda: session_progress(store.tally("ann"), store.counts(), store.statuses(), tuple(Purpose)).finished)
