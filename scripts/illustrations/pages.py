"""docs/environments.md, made of the docstrings of the suite's environments."""

from __future__ import annotations

import inspect
from pathlib import Path

import gymnasium as gym

from rlhf_envs.envs.registration import ENVIRONMENTS
from rlhf_envs.envs.views import TaskEnv

_BEFORE = """# The environments

This page is made of the environments' docstrings by `python -m scripts.illustrate`; edit those, not this.

Each picture shows the scripted expert on the left and, from the same start, a policy that games the proxy reward on the
right. All environments have a fixed number of steps per episode, observations and actions of one fixed shape, and
`info["reward_terms"]`, the named parts of the true reward, which `gym.make(id)` pays; `objective="proxy"` pays the
proxy instead. All take `render_mode` ("rgb_array" or "human"), `frame_size` in pixels and `theme` ("light" or "dark")
besides the arguments below.

"""


def environments_page(pictures: str) -> str:
    """The page, in Markdown.

    Args:
        pictures: the folder of the pictures, as seen from the page.
    """
    parts = [_BEFORE, *(f"- [`{id}`](#{_anchor(id)})\n" for id in ENVIRONMENTS)]
    for environment_id in ENVIRONMENTS:
        parts.append(f"\n## {environment_id}\n\n![Expert and proxy]({pictures}/{picture_name(environment_id)})\n\n")
        parts.append(_docstring(environment_id))
    return "".join(parts)


def picture_name(environment_id: str) -> str:
    """The file of an environment's picture."""
    return f"{environment_id.rpartition('/')[2].partition('-')[0].lower()}.gif"


def write_page(path: Path, pictures: Path) -> None:
    """Write the page to a file."""
    path.write_text(environments_page(pictures.relative_to(path.parent).as_posix()), encoding="utf-8")


def _docstring(environment_id: str) -> str:
    env = gym.make(environment_id).unwrapped
    if not isinstance(env, TaskEnv):
        raise ValueError(f"{environment_id} is not one of the suite's environments.")
    text = inspect.getdoc(type(env.task)) or ""
    # One level deeper than in the docstring, where the environment's name is not a heading.
    return "\n".join(f"#{line}" if line.startswith("## ") else line for line in text.splitlines()) + "\n"


def _anchor(environment_id: str) -> str:
    return environment_id.lower().replace("/", "")
