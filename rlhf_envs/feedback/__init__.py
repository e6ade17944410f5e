"""Asking people, and annotators that are code, which behaviour is better, and storing what they answer."""

from rlhf_envs.feedback.annotators import (
    ANNOTATORS,
    Annotator,
    Clip,
    FunctionAnnotator,
    ScriptedTeacher,
    TeacherConfig,
    make_annotator,
)
from rlhf_envs.feedback.session import AnnotatorSession, SessionProgress
from rlhf_envs.feedback.store import (
    AnswerRefusedError,
    PreferenceStore,
    StoreDamagedError,
    StoreError,
    StoreExistsError,
    StoreFullError,
    StoreLockedError,
    StoreMissingError,
    StoreReadOnlyError,
    StoreVersionError,
)
from rlhf_envs.kinds import (
    KINDS,
    FeedbackKind,
    Label,
    ranking_payload,
    rating_payload,
    strength_payload,
)
from rlhf_envs.queries import Answer, Choice, LiveAnswer, Purpose, Query, QueryCounts, Submission

__all__ = [
    "ANNOTATORS",
    "KINDS",
    "Annotator",
    "AnnotatorSession",
    "Answer",
    "AnswerRefusedError",
    "Choice",
    "Clip",
    "FeedbackKind",
    "FunctionAnnotator",
    "Label",
    "LiveAnswer",
    "PreferenceStore",
    "Purpose",
    "Query",
    "QueryCounts",
    "ScriptedTeacher",
    "SessionProgress",
    "StoreDamagedError",
    "StoreError",
    "StoreExistsError",
    "StoreFullError",
    "StoreLockedError",
    "StoreMissingError",
    "StoreReadOnlyError",
    "StoreVersionError",
    "Submission",
    "TeacherConfig",
    "make_annotator",
    "ranking_payload",
    "rating_payload",
    "strength_payload",
]
