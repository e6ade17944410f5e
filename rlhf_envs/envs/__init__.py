"""Environments: `Task` (what an author writes), `register_task`, the two Gymnasium views, and the suite's own tasks.

Everything below can be imported from here; each name loads its module only when it is used, so that `import rlhf_envs`
stays as quick as importing Gymnasium.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas
    from rlhf_envs.envs.registration import ENVIRONMENTS, find_spec, is_native, register_task
    from rlhf_envs.envs.task import Draws, Field, State, Task, Terms
    from rlhf_envs.envs.views import TaskEnv, TaskVectorEnv

_MODULES = {
    "Canvas": "canvas",
    "Draws": "task",
    "ENVIRONMENTS": "registration",
    "Field": "task",
    "State": "task",
    "Task": "task",
    "TaskEnv": "views",
    "TaskVectorEnv": "views",
    "Terms": "task",
    "find_spec": "registration",
    "is_native": "registration",
    "register_task": "registration",
}

__all__ = [
    "ENVIRONMENTS",
    "Canvas",
    "Draws",
    "Field",
    "State",
    "Task",
    "TaskEnv",
    "TaskVectorEnv",
    "Terms",
    "find_spec",
    "is_native",
    "register_task",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
