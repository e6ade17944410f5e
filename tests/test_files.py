"""Files that are complete or not there, and documents from templates."""

import os
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from rlhf_envs.files import write_atomically
from rlhf_envs.templates import render


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    assert write_atomically(path, "old") == path
    write_atomically(path, b"new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_template_escapes_html_and_misses_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "pages_for_a_test"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "page.html").write_text("<p>{{ name }}</p>")
    (package / "page.md").write_text("*{{ name }}*")
    monkeypatch.syspath_prepend(tmp_path)
    assert render(package.name, "page.html", name="<b>") == "<p>&lt;b&gt;</p>"
    assert render(package.name, "page.md", name="<b>") == "*<b>*"
    with pytest.raises(UndefinedError, match="name"):
        render(package.name, "page.html")
