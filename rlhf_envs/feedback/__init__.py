"""Asking people, and scripted teachers, which behaviour is better, and keeping what they say."""

from rlhf_envs.feedback.errors import (
    AnswerRefusedError,
    StoreDamagedError,
    StoreError,
    StoreExistsError,
    StoreFullError,
    StoreLockedError,
    StoreMissingError,
    StoreReadOnlyError,
    StoreVersionError,
)
from rlhf_envs.feedback.queries import (
    Answer,
    Choice,
    Kind,
    LiveAnswer,
    Purpose,
    Query,
    QueryCounts,
    Submission,
)
from rlhf_envs.feedback.schedule import SCHEDULES, due
from rlhf_envs.feedback.store import PreferenceStore
from rlhf_envs.feedback.teacher import TEACHERS, ScriptedTeacher, TeacherConfig

__all__ = [
    "SCHEDULES",
    "TEACHERS",
    "Answer",
    "AnswerRefusedError",
    "Choice",
    "Kind",
    "LiveAnswer",
    "PreferenceStore",
    "Purpose",
    "Query",
    "QueryCounts",
    "ScriptedTeacher",
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
    "due",
]
