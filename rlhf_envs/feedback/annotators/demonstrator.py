"""Demonstrations as preferences: what a demonstrator did is better than what the agent does (Ibarz et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlhf_envs.demonstrations import Demonstrations
from rlhf_envs.feedback.store import PreferenceStore
from rlhf_envs.queries import DEMONSTRATOR, Choice, Query, Submission
from rlhf_envs.segments import Segment

_SIDE = "demonstration"


class Demonstrator:
    """An annotator that prefers demonstrations over the agent's segments, and is asked about nothing else.

    As in "Reward learning from human preferences and demonstrations in Atari" (Ibarz et al. 2018, section 2.2), the
    answers are taken for granted: nobody looks at them. They help where the agent is far worse than the demonstrator,
    and mislead where it has become better.

    Args:
        demonstrations: whole episodes in the environment that is trained in.
        length: steps in a segment.

    Raises:
        ValueError: if no episode is as long as a segment.
    """

    def __init__(self, demonstrations: Demonstrations, length: int) -> None:
        self._demonstrations = demonstrations
        self._length = length
        of_step = demonstrations.episode_of_step
        self._starts = np.flatnonzero(of_step[: len(of_step) - length + 1] == of_step[length - 1 :])
        if not len(self._starts):
            raise ValueError(
                f"No demonstration is as long as a segment of {length} steps; demonstrate longer or ask shorter ones."
            )

    def prefer(
        self, store: PreferenceStore, round: int, agent: Sequence[Segment], count: int, rng: np.random.Generator
    ) -> int:
        """Store comparisons of a demonstration with something that the agent did, and their answers.

        Doing it again for the same round, as after a crash, adds only what is missing.

        Args:
            store: the run's.
            round: of the run.
            agent: segments of the agent's.
            count: how many comparisons; none where the agent has done nothing yet.
            rng: draws the segments and the sides.

        Returns:
            How many there are for this round.
        """
        drawn = [self._query(f"{round}/demonstration/{number}", round, agent, rng) for number in range(count)]
        ids = store.ask(drawn if agent else [])
        stored = [store.query(id) for id in ids]
        store.answer_many(
            [
                Submission(id, DEMONSTRATOR, Choice(query.context[_SIDE]), token=f"{query.key}/{id}")
                for id, query in zip(ids, stored, strict=True)
            ]
        )
        return len(ids)

    def _query(self, key: str, round: int, agent: Sequence[Segment], rng: np.random.Generator) -> Query:
        shown = self._segment(int(rng.choice(self._starts)))
        done = agent[int(rng.integers(len(agent)))] if agent else shown
        on_right = bool(rng.random() < 0.5)
        return Query(
            key=key,
            round=round,
            segments=(done, shown) if on_right else (shown, done),
            context={_SIDE: (Choice.RIGHT if on_right else Choice.LEFT).value},
            only_for=DEMONSTRATOR,
        )

    def _segment(self, start: int) -> Segment:
        steps = slice(start, start + self._length)
        of = self._demonstrations
        observations = of.observations
        cut = (
            {name: array[steps] for name, array in observations.items()}
            if isinstance(observations, dict)
            else (observations[steps])
        )
        return Segment(cut, of.actions[steps], of.true_rewards[steps])
