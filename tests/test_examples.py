"""Every example of the documentation runs as a user would run it: alone, from an empty folder, on the library only.

Those that name a command in their docstring are also run by it, with settings that make the run short.
"""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import gymnasium as gym
import pytest

from rlhf_envs.testing import check_environment

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
PARTS = [example for example in EXAMPLES if example.stem != "reward_model"]
"""Those that are parts of a run; its reward model is not."""
MOST_LINES = 60
SHORT = [
    *("--timesteps", "256", "--answers", "8", "--held-out-share", "0.25", "--segment-length", "5"),
    *("--learner.num-envs", "4", "--learner.n-steps", "32"),
    *("--ensemble.hidden", "8", "--fit.steps", "10", "--evaluation-episodes", "2"),
]
SHORT_PPO = ["--learner.batch-size", "64", "--learner.n-epochs", "1", "--learner.net-arch", "8"]
OUR_PACKAGES = {"rlhf_envs", "agents", "scripts", "tests"}


def imports_of_ours(example: Path) -> set[str]:
    """Everything of this project that an example imports, as dotted names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(example.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.partition(".")[0] in OUR_PACKAGES}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_imports_public_names_of_the_library_only(example: Path) -> None:
    assert len(example.read_text().splitlines()) <= MOST_LINES
    imported = imports_of_ours(example)
    assert {name.partition(".")[0] for name in imported} == {"rlhf_envs"}
    assert not [name for name in imported if any(part.startswith("_") for part in name.split("."))]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_the_body_of_its_page(example: Path) -> None:
    page = (ROOT / "docs" / "extending" / f"{example.stem}.md").read_text()
    assert f"```{{literalinclude}} ../examples/{example.name}\n" in page


def test_the_picture_and_keys_of_the_page_pass_every_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "extending" / "environment.md").read_text()
    # In a module of their own: what is no module's cannot be pickled.
    parts = [(ROOT / "docs/examples/environment.py").read_text(), *re.findall(r"```python\n(.*?)```", page, re.DOTALL)]
    (tmp_path / "thermostats.py").write_text("\n\n".join(parts))
    monkeypatch.syspath_prepend(tmp_path)
    import_module("thermostats")
    report = check_environment("home/DrawnThermostat-v0")
    assert report.skipped.keys() == {"gaming_the_proxy_does_not_pay", "trivial_policies_do_not_pay"}
    for id in ("home/Thermostat-v0", "home/DrawnThermostat-v0"):
        del gym.registry[id]


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_in_an_empty_folder(example: Path, tmp_path: Path) -> None:
    library, folder = tmp_path / "library", tmp_path / "empty"
    library.mkdir()
    folder.mkdir()
    (library / "rlhf_envs").symlink_to(ROOT / "rlhf_envs")
    run([str(example)], folder, library)


def run(arguments: list[str], folder: Path, *importable: Path) -> None:
    """Run Python in a folder, with modules of some other folders."""
    settings = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, importable)), "SDL_VIDEODRIVER": "dummy"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=settings, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


def command_of(example: Path) -> list[str]:
    """The arguments of the training command that an example's docstring names."""
    [command] = re.findall(
        r"`python -m scripts\.train ([^`]*)`", ast.get_docstring(ast.parse(example.read_text())) or ""
    )
    return shlex.split(command)


@pytest.mark.slow
@pytest.mark.parametrize("example", PARTS, ids=lambda path: path.stem)
def test_the_command_of_an_example_trains_with_it_and_leaves_a_run_that_can_be_read(
    example: Path, tmp_path: Path
) -> None:
    command = command_of(example)
    [own] = [word for word in command if word.startswith(f"{example.stem}:")]
    short = SHORT if "--learner" in command else SHORT + SHORT_PPO
    # Nobody looks at a window here.
    short = [*short, "--feedback", "oracle"] if "window" in command else short
    run(["-m", "scripts.train", "--run-dir", "run", *command, *short], tmp_path, ROOT, example.parent)
    assert json.dumps(own) in (tmp_path / "run" / "config.json").read_text()
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (metrics["answers"], metrics["labels"]) == (8, 6)
    # The report is made from the run's policy, reward model and answers.
    (tmp_path / "run" / "report.html").unlink()
    run(["-m", "rlhf_envs", "report", "--run-dir", "run"], tmp_path, ROOT, example.parent)
    assert (tmp_path / "run" / "report.html").exists()
