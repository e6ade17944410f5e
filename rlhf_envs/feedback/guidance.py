"""What a person should look for: the sentence above the clips, and the reasons to choose from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium as gym

from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.envs.task import Task
from rlhf_envs.kinds import KINDS

GENERAL_RUBRIC = (
    "Which clip is closer to what you would want to see? If both are alike, prefer the one that wastes less time."
)
"""Asked about environments that say nothing themselves."""


@dataclass(frozen=True)
class Guidance:
    """What every screen says to an annotator.

    Attributes:
        rubric: one sentence, with a tie-breaker.
        reasons: the environment's reward terms, which can be named as reasons, and each as a person reads it.
        legend: what can be seen in a clip, and what it means; shown before the first question.
    """

    rubric: str = GENERAL_RUBRIC
    reasons: Mapping[str, str] = field(default_factory=dict)
    legend: Mapping[str, str] = field(default_factory=dict)

    def rubric_for(self, kind: str) -> str:
        """What is asked in a query of this kind; the rubric itself asks which of several clips is better."""
        asked = KINDS[kind].asks if kind in KINDS else "{rubric}"
        terms = list(self.reasons.values())
        counts = f"What counts: {', '.join(terms)}." if terms else f"Have in mind: {self.rubric}"
        return asked.replace("{rubric}", self.rubric).replace("{counts}", counts)


def guidance(environment: StoredEnvironment) -> Guidance:
    """The guidance for the environment of a store, whose own rubric goes before that of the environment.

    Tasks, of the suite or registered by users, bring theirs. Any other environment can have in its `metadata` a
    "rubric", one sentence, "reasons": names, or a mapping of names to what a person reads, and a "legend": a mapping of
    what can be seen to what it means. Everything that is missing, or cannot be read because there is no such
    environment here, is general.
    """
    task = native_task(environment.ref)
    if task is not None:
        found = Guidance(
            task.rubric or GENERAL_RUBRIC,
            {name: task.describe_term(name) for name in task.reward_weights},
            dict(task.legend),
        )
    else:
        found = _from_metadata(_metadata(environment.ref))
    return replace(found, rubric=environment.rubric) if environment.rubric else found


def _from_metadata(metadata: Mapping[str, Any]) -> Guidance:
    rubric, reasons, legend = metadata.get("rubric"), metadata.get("reasons") or {}, metadata.get("legend") or {}
    if not isinstance(reasons, Mapping):
        reasons = {str(name): str(name).replace("_", " ") for name in reasons}
    return Guidance(
        rubric if isinstance(rubric, str) and rubric else GENERAL_RUBRIC,
        {str(name): str(text) for name, text in reasons.items()},
        {str(name): str(text) for name, text in legend.items()} if isinstance(legend, Mapping) else {},
    )


def _metadata(environment: EnvironmentRef | None) -> Mapping[str, Any]:
    """The metadata of an environment; none where it cannot be made here."""
    if environment is None:
        return {}
    try:
        made = make_described(environment)
    except Exception:  # whatever a third-party environment raises; its segments may be shown all the same
        return {}
    with suppress(Exception):
        made.close()
    return made.metadata


def native_task(environment: EnvironmentRef | None) -> Task | None:
    """The rules of an environment, or None if it is no task, or not known here."""
    try:
        if environment is None or not environment.is_native:
            return None
    except ValueError:
        return None
    task: Task = make_described(environment).get_wrapper_attr("task")
    return task


def make_described(environment: EnvironmentRef) -> gym.Env[Any, Any]:
    """One copy of a store's environment, to be asked about; it opens no window, however it was rendered."""
    kwargs = {name: value for name, value in environment.kwargs.items() if name != "render_mode"}
    return replace(environment, kwargs=kwargs).make(limited=False)
