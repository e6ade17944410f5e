"""Demonstrations: whole episodes recorded from a person or an expert, their file, and where they come from.

`rlhf_envs.demonstrations.playing` has the window in which a person plays; it needs pygame.
"""

from rlhf_envs.demonstrations.episodes import (
    Demonstrations,
    Episode,
    append_demonstrations,
    load_demonstrations,
    save_demonstrations,
)
from rlhf_envs.demonstrations.sources import from_expert, from_file, from_minari, resolve

__all__ = [
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
