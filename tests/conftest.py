"""Every test runs without a screen, and on one thread, so that tests run side by side do not slow one another.

Ray reads its settings when it is imported and its token once in each process, so all tests of a process share them.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["SDL_VIDEODRIVER"] = "dummy"
os.environ["SDL_AUDIODRIVER"] = "dummy"
os.environ["MPLBACKEND"] = "Agg"
os.environ["OMP_NUM_THREADS"] = "1"

# Ray listens on loopback alone, and only to who has the token. Machines that run tests are busy.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_agent_register_timeout_ms"] = "120000"  # noqa: SIM112 - Ray writes it so
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)

import pytest
import torch

if TYPE_CHECKING:
    from rlhf_envs.feedback import PreferenceStore

torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nightly", action="store_true", help="try all variants of what is generated at random")


@pytest.fixture(scope="session")
def nightly(request: pytest.FixtureRequest) -> bool:
    """Whether to try all variants of what is generated at random, which takes long, or only some of them."""
    return bool(request.config.getoption("--nightly"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, without a window."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    """An empty store in a file of its own."""
    from rlhf_envs.feedback import PreferenceStore

    with PreferenceStore.create(tmp_path / "feedback.db") as made:
        yield made
