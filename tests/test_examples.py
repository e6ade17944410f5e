"""Every example of the documentation runs as a user would run it: alone, from an empty folder, on the library only."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
MOST_LINES = 60
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


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_in_an_empty_folder(example: Path, tmp_path: Path) -> None:
    library, folder = tmp_path / "library", tmp_path / "empty"
    library.mkdir()
    folder.mkdir()
    (library / "rlhf_envs").symlink_to(ROOT / "rlhf_envs")
    settings = os.environ | {"PYTHONPATH": str(library), "SDL_VIDEODRIVER": "dummy"}
    run = subprocess.run(
        [sys.executable, str(example)], cwd=folder, env=settings, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stdout + run.stderr
