"""Annotators that are code: scripted teachers, demonstrations as preferences, and a user's own."""

from rlhf_envs.feedback.annotators.annotator import (
    ANNOTATORS,
    Annotator,
    Clip,
    FunctionAnnotator,
    ScriptedTeacher,
    make_annotator,
)
from rlhf_envs.kinds import TeacherConfig

__all__ = [
    "ANNOTATORS",
    "Annotator",
    "Clip",
    "FunctionAnnotator",
    "ScriptedTeacher",
    "TeacherConfig",
    "make_annotator",
]
