"""The labelling page in a notebook of a real Jupyter server, answered in a browser while its kernel trains."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import rlhf_envs
from rlhf_envs.feedback import PreferenceStore, Purpose
from tests.feedback.web.screens import listens, wait_until
from tests.test_documentation import ROOT, blocks

SHORTER = {
    'EnvironmentRef("rlhf/Driving-v1"), 8': 'EnvironmentRef("rlhf/Driving-v1", {"horizon": 20}), 4',
    "n_steps=256, batch_size=512": "n_steps=32, batch_size=64, n_epochs=1",
    "answers=50": "answers=3, segment_length=5, wait_for_answers=True",
    "200_000": "384",
}
"""What makes the cells of the documentation short enough to be run here."""

COUNT = 'print("answers:", len([a for a in callback.loop.store.live_answers() if a.purpose == "train"]))'


def documented_cells() -> tuple[str, ...]:
    """The cells that the documentation shows, with shorter runs, and what they have come to at the end."""
    cells = "\0".join(text for language, text in blocks(ROOT / "docs/guides/notebook.md") if language == "python")
    for long, short in SHORTER.items():
        assert long in cells
        cells = cells.replace(long, short)
    first, second = cells.split("\0")
    return first, second + COUNT


SLOW = 120_000


@pytest.fixture
def jupyter(tmp_path: Path) -> Iterator[str]:
    """The address of a Jupyter server whose folder has the notebook."""
    if find_spec("jupyterlab") is None:
        pytest.skip("JupyterLab is not installed")
    cells = [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": f"cell{number}",
            "metadata": {},
            "outputs": [],
            "source": cell,
        }
        for number, cell in enumerate(documented_cells())
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "labelling.ipynb").write_text(json.dumps(notebook))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    flags = [
        "--no-browser",
        "--allow-root",
        f"--port={port}",
        "--IdentityProvider.token=",
        f"--ServerApp.root_dir={tmp_path}",
    ]
    root = str(Path(rlhf_envs.__file__).parents[1])
    folders = {f"JUPYTER_{name}_DIR": str(tmp_path / name.lower()) for name in ("CONFIG", "RUNTIME")}
    environment = (
        os.environ | folders | {"PYTHONPATH": root, "HOME": str(tmp_path), "IPYTHONDIR": str(tmp_path / "ipython")}
    )
    with subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *flags],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            wait_until(lambda: listens(port), 60)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(30)


def test_the_page_is_answered_in_a_notebook_while_its_kernel_trains(
    jupyter: str, new_context: Callable[..., Any], tmp_path: Path
) -> None:
    page = new_context(viewport={"width": 1280, "height": 1000}).new_page()
    page.set_default_timeout(SLOW)
    page.goto(f"{jupyter}/lab/tree/labelling.ipynb")
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.wait_for_timeout(1000)  # the notebook learns of its kernel a little later than the status bar
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name=re.compile("^Run All Cells")).click()
    frame = page.frame_locator("iframe[title='Labelling page']")
    frame.get_by_role("button", name=re.compile("Practise first|Begin")).click()
    trained = page.locator(".jp-OutputArea-output", has_text=re.compile(r"^\s*answers: [1-9]"))
    give_up_at = time.monotonic() + SLOW / 1000
    while not trained.is_visible():
        assert time.monotonic() < give_up_at
        for answer in ("#feedback button", "#stage[data-query] ~ #choices button"):
            button = frame.locator(answer).first
            if button.is_visible():
                with suppress(
                    pytest.importorskip("playwright.sync_api").TimeoutError
                ):  # it may go before it is reached, as training ends
                    button.click(timeout=2000)
        page.wait_for_timeout(200)
    with PreferenceStore.open(tmp_path / "feedback.db") as store:
        given = store.live_answers()
    assert {live.annotator for live in given} == {"ann"}
    assert [live for live in given if live.purpose is Purpose.TRAIN]
