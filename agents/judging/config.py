"""The settings of a judgement, and whether this machine can carry it out."""

from __future__ import annotations

import getpass
import importlib.util
from dataclasses import dataclass
from typing import Literal

import pygame

from rlhf_envs.envs.rendering import open_display


@dataclass(frozen=True)
class JudgingConfig:
    """How policies are compared side by side; only looked at where human or judge is given.

    Attributes:
        human: let people judge, in a window or on a web page: they see pairs of clips from equal starts, not knowing
            whose they are. Closing the window, or Ctrl-C at the web page, ends the sitting and shows the figures; the
            same command goes on with what is open.
        judge: let a scripted judge, who knows the true reward, answer in their place.
        comparisons: how many are asked in all, shared out evenly over the pairs of policies.
        clip_seconds: how long a clip is, at the pace that looks natural.
        moments: at how many moments, spread evenly over the episode, clips begin.
        overlap: how many annotators answer each of the comparisons that are asked from now on.
        annotator: who answers in the window.
        annotators: who gets a personal link to the web page; whoever --annotator names where none are given.
        renew: whose link should be a new one; the old one then no longer works.
        host: where the page can be reached from; the default is this machine alone.
        port: of the web page; 0 chooses a free one.
        theme: of the window, light or dark.
        store: the URL of a database that keeps the judgements, for annotators on several machines; the file
            judgements.db in the run's folder where None.
    """

    human: Literal["window", "web"] | None = None
    judge: Literal["oracle", "boltzmann", "myopic", "mistake"] | None = None
    comparisons: int = 60
    clip_seconds: float = 3.5
    moments: int = 4
    overlap: int = 1
    annotator: str = ""
    annotators: tuple[str, ...] = ()
    renew: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8000
    theme: Literal["light", "dark"] = "light"
    store: str | None = None

    @property
    def wanted(self) -> bool:
        """Whether policies are to be judged side by side at all."""
        return self.human is not None or self.judge is not None

    @property
    def person(self) -> str:
        """The name of whoever sits at this machine."""
        return self.annotator or getpass.getuser()

    def check(self) -> None:
        """Find out before any work whether these settings make sense, and this machine can show people clips.

        Raises:
            ValueError: if a setting is out of its range, or both people and a scripted judge are to judge.
            RuntimeError: if no window can be opened, or what serves the web page is not installed.
        """
        if self.human is not None and self.judge is not None:
            raise ValueError(
                "Give either --human or --judge; to hear both about the same clips, run the command once with each, "
                "with --overlap 2."
            )
        for name in ("comparisons", "moments", "overlap"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if not 0 < self.clip_seconds < float("inf"):
            raise ValueError(f"clip_seconds must be a positive number of seconds, not {self.clip_seconds}.")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"A port is a number from 0 to 65535, not {self.port}.")
        if self.human == "window":
            _check_screen()
        if self.human == "web" and any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn")):
            raise RuntimeError("The web page needs FastAPI and uvicorn: pip install 'rlhf-envs[web]'.")


def _check_screen() -> None:
    try:
        open_display()
    except pygame.error as error:
        raise RuntimeError(
            f"No window can be opened ({error}); on a machine without a screen use --human web."
        ) from error
    pygame.display.quit()
