"""Checks for any environment; the suite's own all pass them.

from rlhf_envs.testing import check_environment

check_environment("rlhf/Driving-v1")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.envs.registration import find_spec
from rlhf_envs.loop import clip_length
from rlhf_envs.testing import speed
from rlhf_envs.testing.checks import (
    CHECKS,
    EnvironmentCheckError,
    NotApplicable,
    Subject,
    keeps_to_its_declarations,
)
from rlhf_envs.wrappers.faults import described

__all__ = ["CHECKS", "CheckReport", "EnvironmentCheckError", "check_environment"]


@dataclass(frozen=True)
class CheckReport:
    """What was checked.

    Attributes:
        environment_id: of what.
        passed: names of the checks that found nothing.
        skipped: names of the checks that had nothing to look at, and why.
        clips: how long the clips that people compare would be, in words.
    """

    environment_id: str
    passed: tuple[str, ...]
    skipped: dict[str, str]
    clips: str


def check_environment(
    environment_id: str,
    *,
    least_steps_per_second: Mapping[int, float] | None = None,
    least_frames_per_second: float | None = None,
    **kwargs: Any,
) -> CheckReport:
    """Check that an environment does what this toolkit, Gymnasium and Stable-Baselines3 expect of it.

    Any environment can be checked. Checks of what only tasks have (parity of the scalar and the vector view, snapshots,
    named reward terms, ...), and of what a task leaves out (a proxy reward, scripted policies, keyboard control), are
    skipped where they do not apply, and the report says so.

    Args:
        environment_id: as registered with Gymnasium.
        least_steps_per_second: also time the vector environment, and require so many environment steps per second by
            numbers of copies, such as {64: 150_000, 1024: 1_000_000}. Only sensible on a machine that is idle.
        least_frames_per_second: also time drawing, and require so many frames per second.
        **kwargs: arguments of the environment.

    Raises:
        ValueError: if there is no such environment.
        EnvironmentCheckError: if the environment does not pass all checks. The message names each of them with what is
            wrong, and the line of the environment that it comes from, if it raised. A task that does not keep to what
            it declares is checked no further.
    """
    find_spec(environment_id)
    subject = Subject(environment_id, kwargs)
    checks = {check.__name__: check for check in CHECKS}
    if least_steps_per_second is not None:
        checks["steps_fast_enough"] = partial(speed.steps_fast_enough, least=least_steps_per_second)
    if least_frames_per_second is not None:
        checks["draws_fast_enough"] = partial(speed.draws_fast_enough, least=least_frames_per_second)
    passed, skipped = [], {}
    failed: dict[str, list[str]] = {}
    for name, check in checks.items():
        try:
            check(subject)
        except NotApplicable as reason:
            skipped[name] = str(reason)
        except Exception as error:  # whatever the environment raises is its fault
            complaint = str(error) if isinstance(error, EnvironmentCheckError) else f"it raised {described(error)}."
            failed.setdefault(complaint, []).append(name)
            if check is keeps_to_its_declarations:
                break
        else:
            passed.append(name)
    if failed:
        complaints = [f"{', '.join(names)}: {complaint}" for complaint, names in failed.items()]
        raise EnvironmentCheckError(f"{environment_id} fails " + "\n  and ".join(complaints))
    return CheckReport(environment_id, tuple(passed), skipped, _about_clips(EnvironmentRef(environment_id, kwargs)))


def _about_clips(environment: EnvironmentRef) -> str:
    try:
        return str(clip_length(environment))
    except ValueError as error:
        return str(error)
