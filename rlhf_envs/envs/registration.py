"""Registers tasks with Gymnasium, the suite's own among them, and finds any environment by its id."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, load_env_creator

if TYPE_CHECKING:
    from rlhf_envs.envs.task import Measure, Task

ENVIRONMENTS = {
    "rlhf/Driving-v1": "rlhf_envs.envs.driving.task:Driving",
    "rlhf/Recommender-v1": "rlhf_envs.envs.recommender.task:Recommender",
    "rlhf/Support-v1": "rlhf_envs.envs.support.task:Support",
    "rlhf/Headset-v1": "rlhf_envs.envs.headset.task:Headset",
    "rlhf/Rival-v1": "rlhf_envs.envs.rival.task:Rival",
    "rlhf/Glimpse-v1": "rlhf_envs.envs.glimpse.task:Glimpse",
    "rlhf/Overlay-v1": "rlhf_envs.envs.overlay.task:Overlay",
    "rlhf/Writing-v1": "rlhf_envs.envs.writing.task:Writing",
    "rlhf/Prose-v0": "rlhf_envs.envs.prose.task:Prose",
}
"""Every id of the suite, and where its task is. It is imported when the first environment is made."""

_VIEW, _VECTOR_VIEW = "rlhf_envs.envs.views:TaskEnv", "rlhf_envs.envs.views:TaskVectorEnv"


def register_task(environment_id: str, task: type[Task] | str, **defaults: Any) -> None:
    """Make a task an environment of Gymnasium: `gymnasium.make` and `gymnasium.make_vec` then take its id.

    Registering the same task again changes nothing; another task under the same id replaces it, with Gymnasium's
    warning.

    Args:
        environment_id: best with a version, such as "home/Thermostat-v0"; Gymnasium does without, but results do not
            say then which rules they are from.
        task: the class, or where it is as "module:Class", which is then imported only when an environment is made. A
            class defined inside a function works within its process; its environments cannot be written as JSON.
        **defaults: arguments of the task or its views for every environment of this id, such as `horizon=100`.

    Raises:
        ValueError: if `task` is neither a task nor of the form "module:Class".

    Example:
        >>> register_task("home/Thermostat-v0", Thermostat, horizon=100)
        >>> env = gymnasium.make_vec("home/Thermostat-v0", num_envs=64)
    """
    kwargs = {"task_class": _place_of(task), **defaults}
    known = gym.registry.get(environment_id)
    if known is None or (known.entry_point, known.kwargs) != (_VIEW, kwargs):
        gym.register(environment_id, entry_point=_VIEW, vector_entry_point=_VECTOR_VIEW, kwargs=kwargs)


def register_environments() -> None:
    """Register every id of the suite. Doing it twice changes nothing."""
    for environment_id, place in ENVIRONMENTS.items():
        if environment_id not in gym.registry:
            register_task(environment_id, place)


def find_spec(environment_id: str) -> EnvSpec:
    """The registered specification of an id; "package:id" imports the package first, as `gymnasium.make` does.

    Raises:
        ValueError: if no such environment is registered, in which case the nearest names are suggested, or if its
            package cannot be imported.
    """
    package, colon, name = environment_id.rpartition(":")
    if colon:
        if not package or package.startswith("."):
            raise ValueError(
                f'{environment_id!r} has no package\'s full name before its colon; write it as "package:id".'
            )
        try:
            import_module(package)
        except ImportError as error:
            raise ValueError(
                f"The package of the environment {environment_id!r} cannot be imported: {error}. Install it, or put "
                "its folder into the variable PYTHONPATH."
            ) from error
    try:
        return gym.spec(name)
    except gym.error.Error:
        near = [f"{package}{colon}{each}" for each in get_close_matches(name, list(gym.registry), n=3, cutoff=0.75)]
        hints = [f"Did you mean {', '.join(near)}?"] if near else []
        if not colon and not name.startswith("rlhf/"):
            hints.append('If another package registers it, write it as "package:id", so that the package is imported.')
        elif not near:
            hints.append(f"Known are {', '.join(ENVIRONMENTS)}." if not colon else f"{package} does not register it.")
        raise ValueError(f"There is no environment {environment_id!r}. {' '.join(hints)}") from None


def declared_measures(environment_id: str) -> Mapping[str, Measure]:
    """The figures of whole episodes that a task declares, by name; none for environments that are no tasks.

    Raises:
        ValueError: if no such environment is registered.
    """
    task = find_spec(environment_id).kwargs.get("task_class")
    if task is None:
        return {}
    from rlhf_envs.envs.views import load_task

    return load_task(task).measures


def is_native(environment_id: str) -> bool:
    """Whether an id is a task, of the suite or of a user, and so trains as one batch rather than copy by copy.

    Raises:
        ValueError: if no such environment is registered.
    """
    entry = find_spec(environment_id).vector_entry_point
    if entry is None or entry == _VECTOR_VIEW:
        return entry is not None
    # Imported here, so that registering the ids does not load what only running them needs.
    from rlhf_envs.envs.views import TaskVectorEnv

    creator = load_env_creator(entry) if isinstance(entry, str) else entry
    return isinstance(creator, type) and issubclass(creator, TaskVectorEnv)


def _place_of(task: type[Task] | str) -> type[Task] | str:
    """A task as "module:Class" where it can be imported from there, else as it is."""
    if isinstance(task, str):
        if not all(task.partition(":")):
            raise ValueError(f'A task is registered by its class, or by its place as "module:Class", not as {task!r}.')
        return task
    from rlhf_envs.envs.views import load_task

    task = load_task(task)
    found: Any = sys.modules.get(task.__module__)
    for name in task.__qualname__.split("."):
        found = getattr(found, name, None)
    return f"{task.__module__}:{task.__qualname__}" if found is task else task
