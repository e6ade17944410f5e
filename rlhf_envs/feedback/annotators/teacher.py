"""Scripted teachers as annotators of a store."""

from __future__ import annotations

from rlhf_envs.feedback.store import PreferenceStore
from rlhf_envs.kinds import KINDS, Judgement, TeacherConfig
from rlhf_envs.queries import Choice, Query, Submission

_AT_ONCE = 1000


class ScriptedTeacher:
    """An annotator that answers from the true reward, see `TeacherConfig`.

    What it says to a query depends on its seed and the query alone, not on the order of queries: a run that is resumed
    gets the same answers again.

    Args:
        config: how it judges.
        name: the annotator that its answers are stored under.
    """

    def __init__(self, config: TeacherConfig, name: str = "oracle") -> None:
        self.config = config
        self.name = name
        self._judgement = Judgement(config)

    def answer(self, query: Query) -> Submission:
        """What the teacher submits to a query of any kind.

        Raises:
            ValueError: if the store does not know the query, its true rewards are not finite, or a threshold needs a
                figure that its context does not have.
        """
        if query.id is None:
            raise ValueError(f"Query {query.key!r} must be asked in a store before it is answered.")
        if self._judgement.skips(query):
            return Submission(query.id, self.name, Choice.SKIP)
        choice, payload = KINDS.named(query.kind).scripted_answer(self._judgement, query)
        return Submission(query.id, self.name, choice, payload=payload)

    def serve(self, store: PreferenceStore) -> int:
        """Answer everything that is open to this teacher; return how many queries that was."""
        served = 0
        while taken := store.take_many(self.name, _AT_ONCE):
            served += len(store.answer_many([self.answer(query) for query in taken]))
        return served
