"""Demonstrations: whole episodes acted by a person or an expert, their file, and where they come from."""

from rlhf_envs.demonstrations.controls import Controls
from rlhf_envs.demonstrations.episodes import Demonstrations, Episode
from rlhf_envs.demonstrations.files import append_demonstrations, load_demonstrations, save_demonstrations
from rlhf_envs.demonstrations.sources import from_expert, from_file, from_minari, resolve

__all__ = [
    "Controls",
    "Demonstrations",
    "Episode",
    "append_demonstrations",
    "from_expert",
    "from_file",
    "from_minari",
    "load_demonstrations",
    "resolve",
    "save_demonstrations",
]
