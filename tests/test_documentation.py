"""What README and the pages of the documentation show: links lead somewhere, commands parse, Python runs."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import pytest
import tyro

from rlhf_envs.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LANGUAGES = {"sh", "python", "text", "json", "nginx"}
"""Languages of code blocks. Those of `sh` and `python` are checked here."""

DIRECTIVES = {"{toctree}", "{literalinclude}", "{eval-rst}", "{figure}", "{image}", "{include}", "{note}"}
OTHER_PROGRAMS = {".", "cd", "cp", "createdb", "export", "git", "mkdir", "nginx", "ray", "tensorboard"}
"""Programs of others, whose arguments are not checked here."""


class Parsed(BaseException):
    """The command line was understood; nothing was done."""


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """The code blocks of a page, as (language, text)."""
    for _, language, text in re.findall(r"^(```+)([^\n]*)\n(.*?)^\1$", page.read_text(), re.DOTALL | re.MULTILINE):
        yield language.split(" ")[0], text


def commands(page: Path) -> list[list[str]]:
    """Every command of the shell blocks of a page, as words."""
    text = "\n".join(text for language, text in blocks(page) if language == "sh").replace("\\\n", " ")
    return [words for line in text.splitlines() if (words := shlex.split(line, comments=True))]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page, as GitHub and MyST make them."""
    prose = re.sub(r"^(```+).*?^\1$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_and_headings_that_there_are(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_code_blocks_say_what_language_they_are(page: Path) -> None:
    assert {language for language, _ in blocks(page)} <= LANGUAGES | DIRECTIVES


def stop_after_parsing(*args: Any, **kwargs: Any) -> NoReturn:
    PARSE(*args, **kwargs)
    raise Parsed


PARSE = tyro.cli


def main_of(words: list[str]) -> tuple[str, list[str]] | None:
    """The module of one of our commands, and its arguments; None for a program of somebody else's."""
    if words[0] == "rlhf-envs":
        assert words[1] in COMMANDS or words[1] == "--help"
        return (f"rlhf_envs.cli.{words[1]}", words[2:]) if words[1] in COMMANDS else None
    if words[:2] == ["python", "-m"] and words[2].startswith("scripts."):
        return words[2], words[3:]
    return None


def check_installing(words: list[str]) -> None:
    """Extras that are named are ours to give."""
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    for word in words:
        for extras in re.findall(r"^rlhf-envs\[(.*)\]$", word):
            assert set(extras.split(",")) <= set(settings["options.extras_require"])


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name)
def test_commands_are_understood(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tyro, "cli", stop_after_parsing)
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for words in commands(page):
        ours = main_of(words)
        if ours is not None:
            try:
                import_module(ours[0]).main(ours[1])
            except Parsed:
                continue
            except SystemExit:
                pytest.fail(f"{shlex.join(words)}: {capsys.readouterr()}")
            pytest.fail(f"{shlex.join(words)} was not parsed")
        elif words[0] == "make":
            assert words[1] in targets
        elif words[0] == "pip":
            check_installing(words)
        elif words[0] == "python":
            assert (ROOT / words[1]).exists() or words[1] in ("mine/environment.py", "people.py")
        else:
            assert words[0] in OTHER_PROGRAMS or words[0] == "rlhf-envs", shlex.join(words)


SHORTER = {
    "100_000": "2_000",
    "answers=120": "answers=8",
    "episodes=50": "episodes=2",
    "num_envs=1024": "num_envs=4",
}
"""What makes the scripts of the pages short enough to be run here."""


@pytest.mark.slow
def test_the_training_script_of_the_page_runs(tmp_path: Path) -> None:
    script = "\n".join(text for language, text in blocks(ROOT / "docs/guides/scripts.md") if language == "python")
    for long, short in SHORTER.items():
        assert long in script
        script = script.replace(long, short)
    settings = os.environ | {"PYTHONPATH": str(ROOT), "SDL_VIDEODRIVER": "dummy"}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "reward_model.safetensors").exists()


@pytest.mark.slow
def test_the_script_of_the_tutorial_is_answered_from_another_process(tmp_path: Path) -> None:
    shutil.copy(ROOT / "docs/examples/environment.py", tmp_path)
    [script] = [text for language, text in blocks(ROOT / "docs/tutorial.md") if language == "python"]
    short = script.replace("100_000", "4_096").replace("answers=60", "answers=8")
    assert "4_096" in short and "answers=8" in short
    installed = tmp_path / "bin/rlhf-envs"  # as pip writes it: the folder that Python looks into first is that of it
    installed.parent.mkdir()
    installed.write_text("import sys\nfrom rlhf_envs.cli import main\nsys.exit(main())\n")
    (tmp_path / "people.py").write_text(short)
    label = [str(installed), "label", "--store", "feedback.db", "--feedback", "oracle", "--until-finished"]
    settings = os.environ | {"PYTHONPATH": str(ROOT)}
    both = [
        subprocess.Popen([sys.executable, *words], cwd=tmp_path, env=settings, stderr=subprocess.PIPE, text=True)
        for words in (["people.py"], label)
    ]
    said = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert (tmp_path / "policy.zip").exists()


@pytest.mark.parametrize("page", [page for page in PAGES if "```python\n" in page.read_text()], ids=name)
def test_python_blocks_compile(page: Path) -> None:
    for language, text in blocks(page):
        if language == "python":
            compile(text, name(page), "exec")
