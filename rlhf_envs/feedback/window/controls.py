"""What stands below the clips to be clicked, each with the key that does the same."""

from __future__ import annotations

from dataclasses import dataclass

from rlhf_envs.feedback.window.intents import Action, Intent
from rlhf_envs.queries import Kind


@dataclass(frozen=True)
class Control:
    """Something to click.

    Attributes:
        keys: the names of its keys as they are printed on a keyboard; arrows are "left", "right", "up", "down".
        label: what it does.
        intent: what a click on it means; None for keys that come as two, of which each means something else.
    """

    keys: tuple[str, ...]
    label: str
    intent: Intent | None


_SKIP = Control(("down",), "cannot tell", Intent(Action.SKIP))
_DONE = Control(("Enter",), "done", Intent(Action.CONFIRM))
UNDO = Control(("Backspace",), "undo", Intent(Action.UNDO))
_AGAIN = Control(("Space",), "again", Intent(Action.REPLAY))

MAIN: dict[Kind, tuple[Control, ...]] = {
    Kind.COMPARISON: (Control(("up",), "equally good", Intent(Action.TIE)), _SKIP, UNDO, _AGAIN),
    Kind.RANKING: (_DONE, _SKIP, UNDO, _AGAIN),
    Kind.RATING: (_DONE, Control(("S",), "cannot tell", Intent(Action.SKIP)), UNDO, _AGAIN),
}
"""What answers and takes back, by the kind of question."""

SIDE = (Control((",", "."), "step", None), Control(("T",), "theme", Intent(Action.THEME)))
SLOWER = Control(("–",), "", Intent(Action.PACE, -1))
FASTER = Control(("+",), "", Intent(Action.PACE, 1))

CAPTIONS = (
    Control(("left",), "this one is better", Intent(Action.LEFT)),
    Control(("right",), "this one is better", Intent(Action.RIGHT)),
)
"""What stands below the two clips of a comparison."""


def clip_intent(kind: Kind, clip: int) -> Intent | None:
    """What a click on a clip means."""
    if kind is Kind.COMPARISON:
        return CAPTIONS[clip].intent
    return Intent(Action.PLACE, clip) if kind is Kind.RANKING else None
