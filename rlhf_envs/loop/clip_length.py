"""How many steps a clip needs for people to see what the agent does.

A fixed number of steps shows half a blink of one simulator and minutes of another. Christiano et al. (2017, appendix A)
showed 1 to 2 seconds, and so do other studies of people's preferences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rlhf_envs.environment import EnvironmentRef, step_rate
from rlhf_envs.envs.registration import ENVIRONMENTS
from rlhf_envs.queries import AccuracySource, Choice
from rlhf_envs.rewards.metrics import PreferenceMetrics

USUAL_SECONDS = 1.5
"""That a clip lasts."""

ASSUMED_RATE = 15.0
"""Steps a second at which clips are shown where the environment does not say."""

SUITE_STEPS = 15
"""Of a segment in the suite's environments, each of which was made for it."""

_FEWEST, _MOST = 15, 60
_LEAST = 5
_EPISODE_PARTS = 4
_FEWEST_ANSWERS = 8
_FEWEST_TESTED = {AccuracySource.HELD_OUT: 16, AccuracySource.OUT_OF_FOLD: 40}
"""Out of fold more are needed: what was asked is what the members disagreed about, which is harder than usual."""


@dataclass(frozen=True)
class ClipLength:
    """How long the clips of an environment are.

    Attributes:
        environment_id: of the environment.
        steps: in a segment.
        rate: steps a second of the environment; None where it does not say.
    """

    environment_id: str
    steps: int
    rate: float | None

    def __str__(self) -> str:
        """One sentence for people."""
        if self.rate is None:
            return (
                f"{self.environment_id} does not say how many steps a second it has (render_fps in its metadata), so "
                f"clips have {self.steps} steps, shown at {ASSUMED_RATE:g} a second; where that shows too little, give "
                "--segment-length."
            )
        seconds = self.steps / self.rate
        short = (
            f" People see little in so short a time; --clip-seconds {USUAL_SECONDS:g} shows as much as is usual."
            if seconds < USUAL_SECONDS / 2
            else ""
        )
        return (
            f"Clips have {self.steps} steps and last {seconds:.2g} s, at the {self.rate:g} steps a second of the "
            f"environment.{short}"
        )


def clip_length(environment: EnvironmentRef, seconds: float | None = None) -> ClipLength:
    """How long the clips of an environment are.

    Args:
        environment: any; its rate is `render_fps` of its metadata, or one step every `dt` seconds of a simulator.
        seconds: that a clip lasts, up to a whole episode. None is 1.5, but 15 to 60 steps, for learning: in fewer
            steps little happens, and of more it is hard to tell which of them an answer is about. At most a quarter of
            an episode, of which several clips should fit. In the suite's environments None is 15 steps.

    Raises:
        ValueError: if there is no such environment, or its horizon is not known.
    """
    rate, horizon = frame_rate(environment), environment.episode_length()
    if seconds is not None:
        steps = min(max(round(seconds * (rate or ASSUMED_RATE)), 1), horizon)
    elif environment.id.rpartition(":")[2] in ENVIRONMENTS:
        steps = SUITE_STEPS
    else:
        steps = min(max(round(USUAL_SECONDS * (rate or ASSUMED_RATE)), _FEWEST), _MOST)
        steps = min(steps, max(horizon // _EPISODE_PARTS, min(_LEAST, horizon)))
    return ClipLength(environment.id, steps, rate)


def about_clips(environment: EnvironmentRef, steps: int) -> str:
    """One sentence on clips of so many steps.

    Raises:
        ValueError: if there is no such environment.
    """
    return str(ClipLength(environment.id, steps, frame_rate(environment)))


def about_answers(
    choices: Sequence[Choice | None], metrics: PreferenceMetrics, source: AccuracySource, steps: int
) -> str | None:
    """One sentence on answers that say that the clips show too little, and on what helps; None where they do not.

    Args:
        choices: all answers so far; None for those of another form than left, right or tie.
        metrics: how answers are predicted.
        source: which answers these are.
        steps: in a clip.
    """
    longer = f"longer clips (--clip-seconds, or --segment-length, now {steps} steps)"
    if len(choices) >= _FEWEST_ANSWERS and all(choice in (Choice.TIE, Choice.SKIP) for choice in choices):
        return (
            f"All {len(choices)} answers are ties or skips, so there is nothing to learn from them. Where what matters "
            f"does not show, {longer} help, or another teacher: --feedback regret or value judges by what is to come. "
            "Where the reward is the same whatever is done, as --reward true would show, nothing does."
        )
    # At least one standard error above what a coin gets.
    if metrics.decided >= _FEWEST_TESTED[source] and metrics.accuracy <= 0.5 + 0.5 / math.sqrt(metrics.decided):
        return (
            f"{source.sentence(metrics.accuracy, metrics.decided)}: no better than by chance. "
            f"The clips may show too little of what is judged: {longer}, more --answers or another teacher may help."
        )
    return None


def frame_rate(environment: EnvironmentRef) -> float | None:
    """Steps of an environment in a second of what it simulates, as its pictures are shown; None if it does not say.

    Raises:
        ValueError: if there is no such environment.
    """
    env = environment.make(limited=False)
    try:
        return step_rate(env)
    finally:
        env.close()
