"""Environments: `Task` (what an author writes), `register_task`, the two Gymnasium views, and the suite's own tasks.

Everything below can be imported from here; each name loads its module only when it is used, so that `import rlhf_envs`
stays as quick as importing Gymnasium.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas
    from rlhf_envs.envs.palette import Palette
    from rlhf_envs.envs.registration import ENVIRONMENTS, find_spec, is_native, register_task
    from rlhf_envs.envs.task import Draws, Field, Measure, State, Task, Terms, key_combinations, numbers
    from rlhf_envs.envs.views import TaskEnv, TaskVectorEnv
    from rlhf_envs.randomness import normals_from

_EXPORTS = {
    "rlhf_envs.envs.canvas": ("Canvas",),
    "rlhf_envs.envs.palette": ("Palette",),
    "rlhf_envs.envs.registration": ("ENVIRONMENTS", "find_spec", "is_native", "register_task"),
    "rlhf_envs.envs.task": ("Draws", "Field", "Measure", "State", "Task", "Terms", "key_combinations", "numbers"),
    "rlhf_envs.envs.views": ("TaskEnv", "TaskVectorEnv"),
    "rlhf_envs.randomness": ("normals_from",),
}
_MODULES = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = [
    "ENVIRONMENTS",
    "Canvas",
    "Draws",
    "Field",
    "Measure",
    "Palette",
    "State",
    "Task",
    "TaskEnv",
    "TaskVectorEnv",
    "Terms",
    "find_spec",
    "is_native",
    "key_combinations",
    "normals_from",
    "numbers",
    "register_task",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
