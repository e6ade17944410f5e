"""Record docs/example_dataset anew: `python -m tests.archive.record_example FOLDER`.

The labelling page is opened in Chromium and answered by its keys, by a rule that reads the true return: no person does.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

from rlhf_envs.archive import export_store
from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.feedback import PreferenceStore, Purpose, Query
from rlhf_envs.sb3 import make_vec_env
from rlhf_envs.segments import Segment
from tests.feedback.web.screens import Screen, Served

DRIVING, STEPS, PAIRS, SEED = EnvironmentRef("rlhf/Driving-v1"), 8, 40, 5


def segments() -> list[Segment]:
    """Stretches of six copies: two of the scripted expert, two of the proxy, two of the expert with noise."""
    env: Any = make_vec_env(DRIVING, 6, seed=SEED, capacity_steps=400)
    rng = np.random.default_rng(SEED)
    env.reset()
    for _ in range(300):
        actions = np.asarray(env.env.unwrapped.expert_action()).copy()
        actions[2:4] = np.asarray(env.env.unwrapped.proxy_action())[2:4]
        actions[4:] = np.clip(actions[4:] + rng.normal(0, 0.7, actions[4:].shape), -1, 1)
        env.step_async(actions.astype(np.float32))
        env.step_wait()
    windows = env.recorder.sample_windows(2 * PAIRS, STEPS, rng)
    return [env.recorder.segment(windows, place) for place in range(2 * PAIRS)]


def answer_in_the_browser(store: PreferenceStore, served: Served, spread: float) -> None:
    """Answer every question by a key: the higher true return, "equally good" where both are near, a few skipped."""
    rng = np.random.default_rng(SEED)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        screen = Screen(page, served.link("example-script"))
        page.locator(".introduction").wait_for()
        page.keyboard.press("Enter")
        shown = answered = 0
        while answered < PAIRS:
            shown = screen.query(shown)
            query = store.query(shown)
            left, right = (float(segment.true_rewards.sum()) for segment in query.segments)
            page.wait_for_timeout(rng.uniform(900, 2600))
            key = "ArrowUp" if abs(right - left) < 0.1 * spread else "ArrowRight" if right > left else "ArrowLeft"
            page.keyboard.press("ArrowDown" if query.purpose is Purpose.TRAIN and answered % 16 == 9 else key)
            if query.purpose is Purpose.TRAIN:
                answered += 1
            else:
                page.locator("#feedback").wait_for()
                page.wait_for_timeout(600)
                page.keyboard.press("Enter")
        screen.wait_until(lambda: len(store.live_answers(Purpose.TRAIN)) == PAIRS)
        browser.close()


def main(folder: str) -> None:
    """Record the data set into a new folder."""
    shown = segments()
    with tempfile.TemporaryDirectory() as work:
        place = Path(work, "feedback.db")
        with PreferenceStore.create(place, StoredEnvironment(DRIVING, STEPS)) as store:
            store.ask(
                [Query(f"0/train/{number}", 0, tuple(shown[2 * number : 2 * number + 2])) for number in range(PAIRS)]
            )
            served = Served(store, Path(work, "clips"))
            answer_in_the_browser(store, served, float(np.std([each.true_rewards.sum() for each in shown])))
            served.stop()
        export_store(place, folder, clips=False)


if __name__ == "__main__":
    main(sys.argv[1])
