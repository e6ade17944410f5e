"""What is on screen: values only, so that drawing is a function of them and nothing is drawn twice."""

from __future__ import annotations

from dataclasses import dataclass

from rlhf_envs.feedback.window.intents import Intent
from rlhf_envs.queries import Kind


@dataclass(frozen=True)
class Chip:
    """A reason that can be given: what it says, the number of its key (None where there is none), whether it is on."""

    label: str
    number: int | None
    on: bool


@dataclass(frozen=True)
class Scene:
    """Everything but the moving pictures.

    Attributes:
        theme: "light" or "dark".
        kind: of the question.
        clips: how many clips it shows; 0 while there is no question.
        rubric: what to look for.
        message: what is waited for, as a headline and a sentence, or None.
        problems: for each clip, why it cannot be shown, or None.
        chips: the reasons.
        places: for each clip of a ranking its place from 1, or None; empty for other kinds.
        ready: whether confirming would answer the question.
        speed: how many times as fast as natural the clips are played.
        paused: whether they stand still.
        lit: what to light up because it was just done, and how strongly, from 0 to 1.
        pointed: what the mouse points at.
        status: how far things are, in short pieces of which the later ones may be left out.
        training: what training is doing, likewise.
        share: how much of what is asked has been answered, from 0 to 1.
        curve: the training's returns so far, oldest first.
        banner: something that went wrong, or None.
    """

    theme: str
    kind: Kind = Kind.COMPARISON
    clips: int = 0
    rubric: str = ""
    message: tuple[str, str] | None = None
    problems: tuple[str | None, ...] = ()
    chips: tuple[Chip, ...] = ()
    places: tuple[int | None, ...] = ()
    ready: bool = False
    speed: float = 1.0
    paused: bool = False
    lit: tuple[Intent, float] | None = None
    pointed: Intent | None = None
    status: tuple[str, ...] = ()
    training: tuple[str, ...] = ()
    share: float = 0.0
    curve: tuple[float, ...] = ()
    banner: str | None = None


@dataclass(frozen=True)
class Moment:
    """What changes from frame to frame.

    Attributes:
        frame: which frame of the clips is shown; `frames` is how many the longest has.
        ratings: what was said of the steps of a rated clip so far.
        level: what is being said now.
        carried: the clip that the mouse carries, and where it is; or None.
        look: identifies the pictures, which are painted anew when the window changes.
    """

    frame: int = 0
    frames: int = 1
    ratings: tuple[float, ...] = ()
    level: float = 0.0
    carried: tuple[int, tuple[int, int]] | None = None
    look: tuple[int, ...] = ()
