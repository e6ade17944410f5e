"""The pages of the environments say what their docstrings say."""

from pathlib import Path

from rlhf_envs.envs.registration import ENVIRONMENTS
from scripts.illustrate import environment_pages, picture_name

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_pages_of_the_environments_are_what_their_docstrings_say() -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "environments").glob("*.md")}
    assert written == environment_pages("../images"), "python -m scripts.illustrate writes them anew"


def test_every_environment_has_its_picture() -> None:
    for environment_id in ENVIRONMENTS:
        assert (DOCS / "images" / picture_name(environment_id)).is_file()
