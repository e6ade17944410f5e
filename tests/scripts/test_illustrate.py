"""The page of the environments says what their docstrings say."""

from pathlib import Path

from rlhf_envs.envs.registration import ENVIRONMENTS
from scripts.illustrate import environments_page, picture_name

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_of_the_environments_is_what_their_docstrings_say() -> None:
    written = (DOCS / "environments.md").read_text(encoding="utf-8")
    assert written == environments_page("images"), "python -m scripts.illustrate writes it anew"


def test_every_environment_has_its_picture() -> None:
    for environment_id in ENVIRONMENTS:
        assert (DOCS / "images" / picture_name(environment_id)).is_file()
