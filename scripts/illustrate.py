"""Make the pictures of the documentation, and the page of the environments, anew from the code."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pygame
import tyro

import rlhf_envs
from rlhf_envs.cli import one_sentence_errors
from rlhf_envs.envs.registration import ENVIRONMENTS
from scripts.illustrations.pages import picture_name, write_page
from scripts.illustrations.pairs import FILM_FRAME, pair_films, save_gif
from scripts.illustrations.window import save_window

_FILM_SECONDS = 4.0


@dataclass(frozen=True)
class Arguments:
    """Make the pictures of the documentation, and the page of the environments, anew from the code.

    Attributes:
        folder: the documentation.
        seed: of the scenes.
        skip: how far into the episode the scenes are, in steps.
        only: the environments whose pictures are made; all of them, and the page, where none are named.
    """

    folder: Path = Path("docs")
    seed: int = 5
    skip: int = 20
    only: tuple[str, ...] = ()


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    given = tyro.cli(Arguments, args=arguments, prog="python -m scripts.illustrate")
    with one_sentence_errors():
        rlhf_envs.register_environments()
        pictures = given.folder / "images"
        pictures.mkdir(parents=True, exist_ok=True)
        for environment_id in given.only or ENVIRONMENTS:
            print(_film(environment_id, pictures, given))
        if not given.only:
            print(_question(pictures))
            save_window("rlhf/Driving-v0", pictures / "window.png")
            print(pictures / "window.png")
            write_page(given.folder / "environments.md", pictures)
            print(given.folder / "environments.md")
    return 0


def _film(environment_id: str, pictures: Path, given: Arguments) -> Path:
    captions = ("what people want", "what the proxy pays for")
    # Enough frames for any rate are drawn; those beyond the length that a reader waits for are left out.
    films, rate = pair_films(environment_id, given.seed, given.skip, 40, captions, FILM_FRAME)
    path = pictures / picture_name(environment_id)
    save_gif(films[: max(round(rate * _FILM_SECONDS), 8)], rate, path)
    return path


def _question(pictures: Path) -> Path:
    """The picture that the README begins with: a moment of driving, as it is put to an annotator."""
    captions = ("left arrow: this one", "right arrow: this one")
    [picture], _ = pair_films("rlhf/Driving-v0", 5, 69, 1, captions, (600, 400))
    path = pictures / "which_is_better.png"
    pygame.image.save(picture, path)
    return path


if __name__ == "__main__":
    sys.exit(main())
