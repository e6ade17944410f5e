"""Kinds of feedback: what can be asked about segments, one module for each.

`KINDS` holds an object of each kind by its name; stores, teachers, the preference model and archives find out from it
how to treat a query. Registering a kind of one's own takes one line, see `FeedbackKind`.
"""

from rlhf_envs.kinds.comparison import Comparison
from rlhf_envs.kinds.kind import FeedbackKind, Label, LabelBatch
from rlhf_envs.kinds.ranking import LONGEST_RANKING, Ranking, ranking_payload
from rlhf_envs.kinds.rating import Rating, rating_payload
from rlhf_envs.kinds.strength import Strength, strength_payload
from rlhf_envs.kinds.teacher import Critic, Judgement, TeacherConfig
from rlhf_envs.registry import Registry

KINDS: Registry[FeedbackKind] = Registry("kind of feedback", instances=True, type=FeedbackKind)
"""Every kind of feedback by its name, with its default settings."""

for _kind in (Comparison(), Ranking(), Rating(), Strength()):
    KINDS.register(_kind.name, _kind)


def find_kind(wanted: str) -> FeedbackKind:
    """A kind of feedback by its name, or as "module:Name", which is registered by this.

    Raises:
        ValueError: if there is none, or one of that name is registered already.
    """
    kind = KINDS.resolve(wanted)
    known = KINDS.get(kind.name)
    return known if type(known) is type(kind) else KINDS.register(kind.name, kind)


__all__ = [
    "KINDS",
    "LONGEST_RANKING",
    "Comparison",
    "Critic",
    "FeedbackKind",
    "Judgement",
    "Label",
    "LabelBatch",
    "Ranking",
    "Rating",
    "Strength",
    "TeacherConfig",
    "find_kind",
    "ranking_payload",
    "rating_payload",
    "strength_payload",
]
