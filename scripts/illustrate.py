"""Draw the pictures of the documentation anew."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import pygame
import tyro

import rlhf_envs
from rlhf_envs.envs.canvas import Canvas
from rlhf_envs.envs.scalar import TaskEnv
from scripts.errors import one_sentence_errors

_CAPTION_HEIGHT = 48


@dataclass(frozen=True)
class Arguments:
    """Draw the pictures of the documentation anew.

    Attributes:
        folder: where they go.
        seed: of the scene.
        steps: how far into the episode it is.
    """

    folder: Path = Path("docs/images")
    seed: int = 5
    steps: int = 70


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parsed = tyro.cli(Arguments, args=arguments)
    with one_sentence_errors():
        parsed.folder.mkdir(parents=True, exist_ok=True)
        path = parsed.folder / "which_is_better.png"
        pygame.image.save(which_is_better("rlhf/Driving-v0", parsed.seed, parsed.steps), path)
        print(path)
    return 0


def which_is_better(environment_id: str, seed: int, steps: int) -> pygame.Surface:
    """A moment of the expert beside one of the policy that games the proxy, as an annotator sees the two."""
    rlhf_envs.register_environments()
    frames = []
    for role in ("expert", "proxy"):
        env = gym.make(environment_id, render_mode="rgb_array").unwrapped
        if not isinstance(env, TaskEnv):
            raise ValueError(f"{environment_id} is not one of the suite's environments.")
        env.reset(seed=seed)
        for _ in range(steps):
            env.step(env.expert_action() if role == "expert" else env.proxy_action())
        frames.append(env.painter.surface(env.simulation.state).copy())
    width, height = frames[0].get_size()
    canvas = Canvas(2 * width, height + _CAPTION_HEIGHT)
    canvas.scale = 1.0
    colors = canvas.colors
    canvas.surface.fill(colors.surface)
    for column, frame in enumerate(frames):
        canvas.surface.blit(frame, (column * width, 0))
    canvas.line((width, 0), (width, height), colors.line, 2)
    middle = height + _CAPTION_HEIGHT / 2
    canvas.text(width / 2, middle, "left arrow: this one", colors.muted, 16, "center")
    canvas.text(width, middle, "Which is better?", colors.ink, 20, "center", bold=True)
    canvas.text(width * 1.5, middle, "right arrow: this one", colors.muted, 16, "center")
    return canvas.surface


if __name__ == "__main__":
    sys.exit(main())
