"""Who answers queries: scripted teachers, functions of two clips, and whatever else serves a store."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.clips import ClipPainter, clip_painter
from rlhf_envs.feedback.store import QUEUE, PreferenceStore
from rlhf_envs.kinds import KINDS, Comparison, Critic, Judgement, TeacherConfig
from rlhf_envs.observations import Observations
from rlhf_envs.queries import Choice, Purpose, Query, Submission
from rlhf_envs.registry import Registry
from rlhf_envs.segments import Segment
from rlhf_envs.wrappers.faults import described

_AT_ONCE = 1000


@runtime_checkable
class Annotator(Protocol):
    """Answers what is open in a store. People do so in processes of their own; this is for everything that is code.

    One that does not answer every kind of feedback says so by an attribute `kinds`, the names of those that it answers;
    a run that would ask it others is then refused before it begins. An attribute `name` is what messages call it.
    """

    def serve(self, store: PreferenceStore, /) -> int:
        """Take queries from the store and answer them, until there are none for this annotator; how many it answered.

        A training run calls it after each time that it has asked. Raise what you like: the run stops with it, and can
        be resumed.
        """


class ScriptedTeacher:
    """An annotator that answers from the true reward, or a critic of it, see `TeacherConfig`.

    What it says to a query depends on its seed and the query alone, not on the order of queries: a run that is resumed
    gets the same answers again.

    Args:
        config: how it judges.
        name: the annotator that its answers are stored under.
        critic: gives values, for a teacher that judges by regret or value.

    Raises:
        ValueError: if such a teacher has no critic.
    """

    def __init__(self, config: TeacherConfig, name: str = "oracle", critic: Critic | None = None) -> None:
        self.config = config
        self.name = name
        self._judgement = Judgement(config, critic)

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

    def serve(self, store: PreferenceStore, purposes: Collection[Purpose] = QUEUE) -> int:
        """Answer everything of these purposes that is open to this teacher; return how many queries that was."""
        served = 0
        while taken := store.take_many(self.name, _AT_ONCE, purposes=purposes):
            served += len(store.answer_many([self.answer(query) for query in taken]))
        return served


class Clip:
    """A segment as it is given to a function that judges it.

    The environment is made, and the clip drawn, when pictures are asked for.

    Args:
        segment: what happens in it.
        painter: gives what draws segments of its environment.

    Attributes:
        observations: what the policy saw before each action, (T, *obs), or a dict of such arrays.
        actions: (T, *act).
    """

    def __init__(self, segment: Segment, painter: Callable[[], ClipPainter]) -> None:
        self._segment, self._painter = segment, painter
        self.observations: Observations = segment.observations
        self.actions: NDArray[Any] = segment.actions

    @property
    def frames(self) -> NDArray[np.uint8]:
        """The clip as people see it, (T, height, width, 3) uint8."""
        return self._painter().frames(self._segment)

    @property
    def frames_per_second(self) -> float:
        """The rate at which `frames` look natural."""
        return self._painter().frames_per_second


class FunctionAnnotator:
    """Answers comparisons by a function of two clips, such as a vision-language model or a measurement.

    Args:
        function: from (left clip, right clip) to "left", "right", "tie" or "skip".
        name: the annotator that the answers are stored under; by default the name of the function, or of its class.

    Attributes:
        kinds: the kinds of feedback that it answers, which are comparisons alone.
    """

    kinds = (Comparison.name,)

    def __init__(self, function: Callable[[Clip, Clip], Choice | str], name: str = "") -> None:
        self.function = function
        self.name = name or getattr(function, "__name__", type(function).__name__)

    def serve(self, store: PreferenceStore, purposes: Collection[Purpose] = QUEUE) -> int:
        """Answer every comparison of these purposes that is open to this annotator; return how many there were.

        Raises:
            ValueError: if the function raises, or answers anything else; its query stays open.
        """
        painter = cache(lambda: clip_painter(store.environment.required))
        served = 0
        while (query := store.take(self.name, purposes=purposes, kinds=self.kinds)) is not None:
            left, right = (Clip(segment, painter) for segment in query.segments)
            try:
                said = self.function(left, right)
            except Exception as error:
                raise ValueError(
                    f"The annotator {self.name} raised {described(error)}, at query {query.id}."
                ) from error
            try:
                choice = Choice(said)
            except ValueError as error:
                raise ValueError(f"The annotator {self.name} gave no answer to query {query.id}: {error}") from error
            store.answer(query.id or 0, self.name, choice)
            served += 1
        return served


ANNOTATORS: Registry[Any] = Registry("annotator")
"""Annotators by name: the scripted teachers that B-Pref compares, two that judge by a critic, and any `Annotator`,
class of one, or function of two clips that a user registers."""

ANNOTATORS.register("oracle", TeacherConfig())
ANNOTATORS.register("boltzmann", TeacherConfig(beta=1.0))
ANNOTATORS.register("myopic", TeacherConfig(gamma=0.9))
ANNOTATORS.register("mistake", TeacherConfig(mistake=0.1))
ANNOTATORS.register("skip", TeacherConfig(skip=0.1))
ANNOTATORS.register("equal", TeacherConfig(equal=0.1))
ANNOTATORS.register("regret", TeacherConfig(judged_by="regret"))
ANNOTATORS.register("value", TeacherConfig(judged_by="value"))


def make_annotator(wanted: Any, critic: Critic | None = None) -> Annotator:
    """An annotator from whatever names one.

    Args:
        wanted: an `Annotator`, a class of one, a function of two clips, a `TeacherConfig`, a name in `ANNOTATORS`, or
            "module:Name" of any of these.
        critic: gives values, for a teacher that judges by regret or value.

    Raises:
        ValueError: if it is none of these, such a teacher has no critic, or another annotator has one.
    """
    found = ANNOTATORS.resolve(wanted)
    if critic is not None and not (isinstance(found, TeacherConfig) and found.judged_by != "return"):
        raise ValueError(f"{wanted} judges by no critic; leave it out, or let regret or value judge.")
    if isinstance(found, TeacherConfig):
        return ScriptedTeacher(found, wanted if isinstance(wanted, str) else "teacher", critic)
    if isinstance(found, type):
        try:
            found = found()
        except TypeError as error:
            raise ValueError(f"The annotator {wanted!r} must be made without arguments: {error}.") from error
    if isinstance(found, Annotator):
        return found
    if callable(found):
        return FunctionAnnotator(found)
    raise ValueError(
        f"{wanted!r} is no annotator: it needs a method serve(store), or to be a function of two clips that gives "
        "'left', 'right', 'tie' or 'skip'."
    )
