"""Wheel and sdist, built and installed into an environment of their own: what a user gets who has no checkout."""

import importlib.metadata
import os
import re
import signal
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path
from typing import Any

import pytest

from rlhf_envs.cli import COMMANDS
from rlhf_envs.feedback import PreferenceStore, Query
from rlhf_envs.feedback.practice import practice_pairs
from tests.feedback.web.screens import ENVIRONMENT, Screen, practised, wait_until
from tests.trainer import ROOT

pytestmark = pytest.mark.slow

_EVERY_ENVIRONMENT = """
import gymnasium as gym, rlhf_envs
print(rlhf_envs.__file__)
ids = [id for id in gym.registry if id.startswith("rlhf/")]
for id in ids:
    with gym.make(id, render_mode="rgb_array") as env:
        env.reset(seed=0)
        env.step(env.action_space.sample())
        assert env.render().ndim == 3
    gym.make_vec(id, num_envs=2).close()
print(*ids)
"""


def run(command: list[Any], **settings: Any) -> str:
    """What a command prints; its complaints fail the test."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, the wheel built from the sdist, in which nothing can be missing then."""
    pytest.importorskip("build")
    source = tmp_path_factory.mktemp("source")
    # A copy, because building writes into the folder, and where files of earlier builds lie they would be packed again.
    listed = run(["git", "ls-files", "-z", "--", "rlhf_envs", "*.cfg", "*.toml", "*.md", "LICENSE"], cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source])
    return out


def install(distribution: Path, environment: Path) -> Path:
    """The programs of a new environment that holds a distribution.

    The dependencies are those of this environment, as a path at the end: an editable installation is not seen there.
    """
    run([sys.executable, "-m", "venv", "--without-pip", environment])
    [packages] = environment.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    programs = environment / "bin"
    pip = [sys.executable, "-m", "pip", "--python", programs / "python", "install", "--quiet"]
    run([*pip, "--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed", distribution])
    return programs


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that holds the wheel."""
    [wheel] = built.glob("*.whl")
    return install(wheel, tmp_path_factory.mktemp("environment"))


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A folder that is not the checkout, and variables that do not name it."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {"cwd": tmp_path_factory.mktemp("elsewhere"), "env": variables}


def test_every_environment_is_made_from_what_is_installed(installed: Path, surroundings: dict[str, Any]) -> None:
    where, ids = run([installed / "python", "-c", _EVERY_ENVIRONMENT], **surroundings).splitlines()
    assert Path(where).is_relative_to(installed.parent)
    assert len(ids.split()) >= 8


def test_every_installed_command_says_how_it_is_used(installed: Path, surroundings: dict[str, Any]) -> None:
    assert {path.name for path in installed.iterdir() if not path.name.lower().startswith(("python", "activate"))} == {
        "rlhf-envs"
    }
    listed = run([installed / "rlhf-envs", "--help"], **surroundings)
    assert listed == run([installed / "python", "-m", "rlhf_envs", "--help"], **surroundings)
    for command in COMMANDS:
        assert command in listed
        assert f"usage: rlhf-envs {command}" in run([installed / "rlhf-envs", command, "--help"], **surroundings)


def test_the_labelling_page_is_served_and_answered(
    installed: Path, surroundings: dict[str, Any], tmp_path: Path, browser: Any
) -> None:
    [pair] = practice_pairs(ENVIRONMENT, 1)
    with PreferenceStore.create(tmp_path / "feedback.db", environment=ENVIRONMENT) as store:
        store.ask([Query(f"comparison/{number}", 0, (pair.good, pair.bad)) for number in range(9)])
        practised(store, "ann")
        command = [installed / "rlhf-envs", "label", "--store", tmp_path / "feedback.db", "--feedback", "web"]
        settings = surroundings | {
            "env": surroundings["env"] | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
        }
        with subprocess.Popen(
            [*command, "--annotators", "ann", "--port", "0"], stdout=subprocess.PIPE, text=True, **settings
        ) as server:
            assert server.stdout is not None
            try:
                links = (re.search(r"link of ann: (\S+)", line) for line in server.stdout)
                link = next(found[1] for found in links if found)
                context = browser.new_context()
                screen = Screen(context.new_page(), link)
                answered = screen.press("ArrowLeft")
                wait_until(lambda: any(live.query_id == answered for live in store.live_answers()))
                context.close()
            finally:
                server.send_signal(signal.SIGTERM)
                server.communicate(timeout=60)
        assert screen.problems == []
        assert [live.annotator for live in store.live_answers() if live.query_id == answered] == ["ann"]


def test_the_sdist_installs_the_same_files_as_the_wheel(built: Path, installed: Path, tmp_path: Path) -> None:
    def files(programs: Path) -> dict[Path, bytes]:
        [library] = programs.parent.glob("lib/python*/site-packages/rlhf_envs")
        return {
            path.relative_to(library): path.read_bytes()
            for path in library.rglob("*")
            if path.suffix != ".pyc" and path.is_file()
        }

    [sdist] = built.glob("*.tar.gz")
    programs = install(sdist, tmp_path / "environment")
    assert (programs / "rlhf-envs").exists()
    assert files(programs) == files(installed)


def test_both_say_under_which_licences_they_are(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    [described] = importlib.metadata.distributions(path=[str(wheel)])
    assert described.metadata["License-Expression"] == "MIT AND CC-BY-4.0 AND CC0-1.0"
    assert described.metadata.get_all("License-File") == ["LICENSE"]
    [archive] = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
        [information] = [name for name in opened.getnames() if name.count("/") == 1 and name.endswith("/PKG-INFO")]
        entry = opened.extractfile(information)
        assert entry is not None and b"License-Expression: MIT AND CC-BY-4.0" in entry.read()
    assert {"LICENSE", "README.md", "rlhf_envs/envs/glimpse/digits.txt"} <= names
