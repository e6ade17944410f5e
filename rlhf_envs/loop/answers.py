"""What a training run has learned from: the answers of its store, up to where it has read."""

from __future__ import annotations

import numpy as np

from rlhf_envs.feedback.store import PreferenceStore
from rlhf_envs.queries import Choice, Purpose
from rlhf_envs.rewards import InputEncoder, PreferenceDataset, RewardEnsemble


class AnswerReader:
    """Keeps a dataset in step with the answers in a store that stand.

    Args:
        store: where the answers come in.
        encoder: of what learns from them.

    Attributes:
        dataset: what there is to learn from, of what was read.
        cursor: how far the store was read.
    """

    def __init__(self, store: PreferenceStore, encoder: InputEncoder) -> None:
        self._store = store
        self._encoder = encoder
        self.dataset = PreferenceDataset(encoder)
        self.cursor = 0

    def read(self, up_to_round: int) -> bool:
        """Read on, but no answers to rounds after this one; whether there is anything new to learn from.

        A resumed run may find answers to rounds that it has not come to again; reading those now would fit the reward
        earlier than the undisturbed run did.
        """
        answers, self.cursor = self._store.read_since(self.cursor, up_to_round=up_to_round)
        if not answers:
            return False
        before = len(self.dataset)
        if any(answer.undoes is not None for answer in answers):
            self.read_again(self.cursor)
            return len(self.dataset) > 0
        self._add(since=answers[0].id)
        return len(self.dataset) > before

    def read_again(self, cursor: int) -> None:
        """Read everything up to this cursor anew."""
        self.cursor = cursor
        self.dataset = PreferenceDataset(self._encoder)
        self._add(since=0)

    def test_accuracy(self, ensemble: RewardEnsemble) -> float | None:
        """The share of the held-out answers that an ensemble predicts; None while there are none."""
        answered = [
            live
            for live in self._store.live_answers(Purpose.TEST, as_of=self.cursor)
            if live.choice in (Choice.LEFT, Choice.RIGHT)
        ]
        if not answered:
            return None
        pairs = [[self._store.segment(id) for id in live.segment_ids] for live in answered]
        left, right = ([pair[side] for pair in pairs] for side in (0, 1))
        said_right = np.array([live.choice is Choice.RIGHT for live in answered])
        return float(((ensemble.probability_right(left, right) > 0.5) == said_right).mean())

    def _add(self, since: int) -> None:
        for live in self._store.live_answers(Purpose.TRAIN, as_of=self.cursor):
            if live.answer_id >= since:
                self.dataset.add_answer(live, self._store.segments(live.segment_ids))
