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
from rlhf_envs.feedback.payloads import parse_ranking, parse_ratings, ranking_payload, rating_payload
from rlhf_envs.feedback.progress import SessionProgress
from rlhf_envs.feedback.reliability import Reliability
from rlhf_envs.feedback.schedule import SCHEDULES, due
from rlhf_envs.feedback.session import AnnotatorSession
from rlhf_envs.feedback.status import StatusMessage
from rlhf_envs.feedback.store import PreferenceStore
from rlhf_envs.feedback.teacher import TEACHERS, ScriptedTeacher, TeacherConfig
from rlhf_envs.queries import (
    LONGEST_RANKING,
    Answer,
    Choice,
    Kind,
    LiveAnswer,
    Purpose,
    Query,
    QueryCounts,
    Submission,
    Tally,
)

__all__ = [
    "LONGEST_RANKING",
    "SCHEDULES",
    "TEACHERS",
    "AnnotatorSession",
    "Answer",
    "AnswerRefusedError",
    "Choice",
    "Kind",
    "LiveAnswer",
    "PreferenceStore",
    "Purpose",
    "Query",
    "QueryCounts",
    "Reliability",
    "ScriptedTeacher",
    "SessionProgress",
    "StatusMessage",
    "StoreDamagedError",
    "StoreError",
    "StoreExistsError",
    "StoreFullError",
    "StoreLockedError",
    "StoreMissingError",
    "StoreReadOnlyError",
    "StoreVersionError",
    "Submission",
    "Tally",
    "TeacherConfig",
    "due",
    "parse_ranking",
    "parse_ratings",
    "ranking_payload",
    "rating_payload",
]
