"""What `rlhf/Overlay-v0` is to those who use it: its page, its picture, its scripted policies and its keys."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rlhf_envs.envs.overlay import policies
from rlhf_envs.envs.overlay.rules import OverlayRules
from rlhf_envs.envs.overlay.scenes import Array
from rlhf_envs.envs.state import State

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas


_KEYS = (("w", "a", "s", "d"), ("i", "j", "k", "l"), ("t", "f", "g", "h"), ("8", "4", "5", "6"))
_KEY_SPEED = 0.3


class Overlay(OverlayRules):
    """Keep labels in their place, seen through augmented-reality glasses.

    ## Description
    Somebody looks around through glasses while standing, walking or running. Their display, 45 by 30 degrees,
    moves with the head; what they look at does not, so that on the display everything sways, nods and turns. The
    glasses track some objects, and each has a label of 7.2 by 2.5 degrees. The agent moves the labels over the display:
    one that is not moved stays where it is on the display, and so shakes against its object with every stride.

    Where labels belong is the problem of view management (Bell, Feiner & Höllerer 2001, "View management for virtual
    and augmented reality"); people read them the sooner, the sooner nothing overlaps (Azuma & Furmanski 2003,
    "Evaluating label placement for augmented reality view management"), and not against a bright ground (Gabbard, Swan
    & Hix 2006, "The effects of text drawing styles, background textures, and natural lighting on text legibility in
    outdoor augmented reality"). Head motion: Grossman et al. 1988, "Frequency and velocity of rotational head
    perturbations during locomotion". The numbers are ours.

    A step is 1/15 s. What the agent decides is displayed one step later: a reward judges the frame that was observed
    before the action.

    ## Action Space
    `Box(-1, 1, (2 * objects,), float32)`
    | number | action | -1 | 1 |
    |---|---|---|---|
    | 2 i | motion of label i over the display, across | 30 degrees/s to the left | 30 degrees/s to the right |
    | 2 i + 1 | motion of label i over the display, up and down | 30 degrees/s up | 30 degrees/s down |

    ## Observation Space
    `Box(-1, 1, (6 + 9 * objects,), float32)`; for three objects:
    | number | observation | unit |
    |---|---|---|
    | 0, 1 | rate of the head, to the right and down | 30 degrees/s |
    | 2, 3 | change of that rate in the last step | 30 degrees/s |
    | 4, 5 | place on the display of the glare (a sunlit window) | half the display |
    | 6-11 | tracked places of the objects on the display, each across and down | half the display |
    | 12-17 | places of the labels, less those of their objects as tracked | 12 degrees |
    | 18-20 | how readable each label is, 0 to 1 as -1 to 1; so are the next | |
    | 21-23 | how well each label is attached | |
    | 24-26 | how much of objects each label covers | |
    | 27-29 | how much of other labels each label shares | |
    | 30-32 | how much each label trembles | |

    ## Rewards
    The true reward is the weighted sum of these terms, each the mean over the labels. The proxy reward is nearness,
    1 / (1 + (distance from the label's centre to the object's / 5 degrees)²), again the mean over the labels.
    | term | weight | values | what it says |
    |---|---|---|---|
    | readable | 0.5 | 0 to 1 | the share of the label inside the display and not before the glare |
    | attached | 0.5 | 0 to 1 | 1 / (1 + (gap / 3 degrees)²), gap being what is beyond 0.8 degrees from the object |
    | covering | -0.5 | 0 to 1 | the share of the label across any of the objects |
    | crowding | -0.4 | 0 to 1 | the share of the label across other labels |
    | trembling | -0.6 | 0 to 1 | s² / (1 + s²), smoothed, s being the label's speed against its object / 8 degrees/s |

    ## Starting State
    Objects are spread over the view in random order, each label is up to 10 degrees across and 7 up or down from its
    object, and the head is anywhere in its stride.

    ## Episode End
    After `horizon` steps (truncation). There is no termination.

    ## Arguments
    - `head_motion`: "calm", "walking" or "running", or how much the gait shakes the head as a number from 0 to 2.5;
      walking is 1. The wearer looks around all the same.
    - `objects`: 2 to 4. The spaces have room for as many.
    - `tracking_noise`: by how many degrees, 0 to 2, a tracked place is wrong at most, anew in every step.
    - `scene`: "workshop", or "street": flatter, with things that drive past one another.
    - `horizon`: steps in an episode.

    Train on the defaults and evaluate on `scene="street"` or `head_motion="running"` to see what carries over.

    ## Why people's judgement helps
    Nearness is one subtraction, so it is what gets rewarded; a label that is paid for it sits on the very thing that
    it explains and trembles with the tracker. Whether a picture is tidy, and calm while one walks, takes a page of
    geometry to write down, and a look to see.

    ## Version History
    - v0: first version.
    """

    render_fps: ClassVar[int] = 15
    rubric = (
        "Which labels would you rather look through: easy to read, beside their objects without hiding them or one "
        "another, and steady while the head moves? If both are alike, prefer the steadier one."
    )

    def draw(self, row: SimpleNamespace, canvas: Canvas) -> None:
        """What the wearer sees."""
        from rlhf_envs.envs.overlay.drawing import draw

        draw(self, row, canvas)

    def expert_action(self, state: State) -> Array:
        """Beside the object, on its freest side, moving with the head."""
        return policies.tidy(self, state)

    def proxy_action(self, state: State) -> Array:
        """Right on the object."""
        return policies.clinging(self, state)

    def get_keys_to_action(self) -> dict[tuple[str, ...], Any]:
        """One label at a time, a cross of keys for each: WASD, IJKL, TFGH and 8456; two of a cross move it aslant."""
        keys_to_action = {}
        for label, (up, left, down, right) in enumerate(_KEYS[: self.objects]):
            for across, sideways in ((), 0), ((left,), -_KEY_SPEED), ((right,), _KEY_SPEED):
                for along, upright in ((), 0), ((up,), -_KEY_SPEED), ((down,), _KEY_SPEED):
                    if across or along:
                        action = np.zeros(2 * self.objects, dtype=np.float32)
                        action[2 * label : 2 * label + 2] = sideways, upright
                        keys_to_action[across + along] = action
        return keys_to_action
