"""What a person should look for: the sentence above the clips, and the reasons that can be given."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium as gym

from rlhf_envs.envs.registration import is_native
from rlhf_envs.envs.task import Task

GENERAL_RUBRIC = (
    "Which clip is closer to what you would want to see? If both are alike, prefer the one that wastes less time."
)
"""Asked about environments that say nothing themselves."""


@dataclass(frozen=True)
class Guidance:
    """What every screen tells an annotator.

    Attributes:
        rubric: one sentence, with a tie-breaker.
        reasons: what can be given as a reason: the environment's reward terms, and each as a person reads it.
    """

    rubric: str = GENERAL_RUBRIC
    reasons: Mapping[str, str] = field(default_factory=dict)


def guidance(environment: Mapping[str, Any]) -> Guidance:
    """The guidance for a store's `environment` (its "id" and "kwargs", and "rubric" where the run gave one of its own).

    Tasks, of the suite or registered by users, bring theirs. Any other environment can have in its `metadata` a
    "rubric", one sentence, and "reasons": names, or a mapping of names to what a person reads. What nobody says, and
    where there is no such environment here, is general.
    """
    task = native_task(environment)
    if task is not None:
        told = Guidance(task.rubric or GENERAL_RUBRIC, {name: task.describe_term(name) for name in task.reward_weights})
    else:
        told = _told_by(_metadata(environment))
    wanted = environment.get("rubric")
    return replace(told, rubric=wanted) if isinstance(wanted, str) and wanted else told


def _told_by(metadata: Mapping[str, Any]) -> Guidance:
    rubric, reasons = metadata.get("rubric"), metadata.get("reasons") or {}
    if not isinstance(reasons, Mapping):
        reasons = {str(name): str(name).replace("_", " ") for name in reasons}
    return Guidance(
        rubric if isinstance(rubric, str) and rubric else GENERAL_RUBRIC,
        {str(name): str(text) for name, text in reasons.items()},
    )


def _metadata(environment: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an environment says of itself; nothing where it cannot be made here."""
    try:
        made = make_described(environment)
    except Exception:  # whatever a stranger's environment raises, its segments may be shown all the same
        return {}
    with suppress(Exception):
        made.close()
    return made.metadata


def native_task(environment: Mapping[str, Any]) -> Task | None:
    """The rules of a store's environment, or None if it is no task."""
    try:
        if not is_native(str(environment.get("id", ""))):
            return None
    except ValueError:
        return None
    return make_described(environment).unwrapped.task  # type: ignore[attr-defined]


def make_described(environment: Mapping[str, Any]) -> gym.Env[Any, Any]:
    """One copy of a store's environment as the store describes it; how it was rendered does not matter."""
    kwargs = {name: value for name, value in (environment.get("kwargs") or {}).items() if name != "render_mode"}
    return gym.make(str(environment["id"]), disable_env_checker=True, **kwargs)
