"""What `rlhf/Driving-v0` is to those who use it: its page, its picture, its scripted policies and its keys."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rlhf_envs.envs.driving import policies
from rlhf_envs.envs.driving.rules import DrivingRules
from rlhf_envs.envs.driving.traffic import Array
from rlhf_envs.envs.state import State

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas


class Driving(DrivingRules):
    """Drive along a busy road.

    ## Description
    A road with several lanes, seen from above and moving with the ego car, which the agent controls. The other cars
    follow the intelligent driver model (Treiber, Hennecke & Helbing 2000, "Congested traffic states in empirical
    observations and microscopic simulations"), each with a desired speed of its own (60-95% of the limit); who is held
    up changes lanes where there is room. They brake for the ego, too. A step is 0.2 s; the ego's pedals and steering
    follow the action with a lag of about 0.4 s. A collision does not end the episode: it costs, and it slows the ego.

    ## Action Space
    `Box(-1, 1, (2,), float32)`
    | number | action | -1 | 1 |
    |---|---|---|---|
    | 0 | pedals | brake with 6 m/s² | accelerate with 3 m/s² |
    | 1 | steering | 0.1 rad to the left of the road | 0.1 rad to the right |

    ## Observation Space
    `Box(-1, 1, (17,), float32)`; a car that is not in sight counts as one at the end of sight (80 m ahead, 45 m behind)
    that drives at the speed limit, a lane that does not exist as an obstacle at hand.
    | number | observation | unit |
    |---|---|---|
    | 0 | speed, less the speed limit | half the limit |
    | 1 | acceleration | 6 m/s² |
    | 2 | heading, positive to the right | 0.1 rad |
    | 3 | distance from the lane's centre, positive to the right | lane width |
    | 4 | time gap to the car ahead, 0 to 3 s as -1 to 1 | |
    | 5-7 | gap to the car ahead in the left, own and right lane, as -1 to 1 | 80 m |
    | 8-10 | gap to the car behind in the left, own and right lane, as -1 to 1 | 45 m |
    | 11-13 | speed of the car ahead, less the ego's: left, own, right lane | half the limit |
    | 14-16 | speed of the car behind, less the ego's: left, own, right lane | half the limit |

    ## Rewards
    The true reward is the weighted sum of these terms; the proxy reward is speed / (1.4 x limit).
    | term | weight | values | what it says |
    |---|---|---|---|
    | progress | 1.0 | 0 to 1 | speed over the limit, at most 1 |
    | speeding | 0.8 | -1 to 0 | from 5% (0) to 30% (-1) above the limit |
    | headway | 0.8 | -1 to 0 | the share that is missing of 1.5 s to the car ahead |
    | comfort | 0.4 | -1 to 0 | (jerk / 10 m/s³)² + (sideways acceleration / 4 m/s²)², at most 1 |
    | courtesy | 0.6 | -1 to 0 | the share that is missing of the room the car behind needs to brake gently |
    | lane | 0.4 | -1 to 0 | (distance from the lane's centre / half a lane)², -1 beside the road |
    | collision | 2.0 | -1 or 0 | touching another car |

    ## Starting State
    The ego is centred in a random lane at 60-90% of the limit; the others are spread evenly, with some jitter.

    ## Episode End
    After `horizon` steps (truncation). There is no termination.

    ## Arguments
    - `traffic`: "light", "medium" or "dense": 120, 80 or 55 m from car to car in a lane.
    - `lanes`: 2 to 4.
    - `speed_limit`: in m/s, 10 to 40.
    - `horizon`: steps in an episode.

    ## Why people's judgement helps
    Speed is easy to measure, so it is what gets rewarded; a driver who is paid for speed tailgates, weaves and speeds.
    What a passenger wants (to get there, without fear, without being rude to others) takes seven terms and their
    weights to write down, and two seconds to recognise.

    ## Version History
    - v0: first version.
    """

    render_fps: ClassVar[int] = 10
    rubric = (
        "Who would you rather ride with: brisk but within the limit, well clear of the car ahead, smooth, well in a "
        "lane, and without cutting others off? If both are alike, prefer the one that gets along faster."
    )

    def draw(self, row: SimpleNamespace, canvas: Canvas) -> None:
        """The road from above, moving with the ego."""
        from rlhf_envs.envs.driving.drawing import draw

        draw(self, row, canvas)

    def expert_action(self, state: State) -> Array:
        """Keep the limit and the distance; overtake where nobody minds."""
        return policies.considerate(self, state)

    def proxy_action(self, state: State) -> Array:
        """Full throttle, and into whichever lane is emptiest."""
        return policies.reckless(self, state)

    def get_keys_to_action(self) -> dict[tuple[str, ...], Any]:
        """W and S for the pedals, A and D to steer left and right."""
        pedals, wheel = {"w": 0.6, "s": -0.6, "": 0.0}, {"a": -0.5, "d": 0.5, "": 0.0}
        pairs = [(pedal, side) for pedal in pedals for side in wheel if pedal or side]
        return {
            tuple(key for key in (pedal, side) if key): np.array([pedals[pedal], wheel[side]], dtype=np.float32)
            for pedal, side in pairs
        }
