"""The expert beside the policy that games the proxy, as an annotator sees two clips."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import pygame
from PIL import Image

from rlhf_envs.envs.canvas import Canvas
from rlhf_envs.envs.views import TaskEnv

FILM_FRAME = (300, 200)
_CAPTION = 0.12
_COLORS = 64


def pair_films(
    environment_id: str, seed: int, skip: int, frames: int, captions: tuple[str, str], frame_size: tuple[int, int]
) -> tuple[list[pygame.Surface], float]:
    """Both policies from the same start, side by side.

    Args:
        environment_id: one of the suite.
        seed: of the start.
        skip: steps before the first frame.
        frames: how many, one a step.
        captions: below the expert's side and the other one.
        frame_size: (width, height) of each side in pixels.

    Returns:
        The pictures, and how many of them make up a second.
    """
    sides = {role: _film(environment_id, role, seed, skip, frames, frame_size) for role in ("expert", "proxy")}
    rate = sides["expert"][1]
    pairs = zip(sides["expert"][0], sides["proxy"][0], strict=True)
    return [_side_by_side(left, right, captions) for left, right in pairs], rate


def save_gif(pictures: list[pygame.Surface], rate: float, path: Path) -> None:
    """Write pictures as an endless GIF in one palette, so that nothing flickers."""
    images = [Image.frombytes("RGB", picture.get_size(), pygame.image.tobytes(picture, "RGB")) for picture in pictures]
    sheet = Image.new("RGB", (images[0].width, images[0].height * 3))
    for place, index in enumerate((0, len(images) // 2, len(images) - 1)):
        sheet.paste(images[index], (0, place * images[0].height))
    palette = sheet.quantize(_COLORS)
    reduced = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    reduced[0].save(path, save_all=True, append_images=reduced[1:], duration=round(1000 / rate), loop=0, optimize=True)


def _film(
    environment_id: str, role: str, seed: int, skip: int, frames: int, frame_size: tuple[int, int]
) -> tuple[list[pygame.Surface], float]:
    env = gym.make(environment_id, render_mode="rgb_array", frame_size=frame_size).unwrapped
    if not isinstance(env, TaskEnv):
        raise ValueError(f"{environment_id} is not one of the suite's environments.")
    env.reset(seed=seed)
    film = []
    for step in range(skip + frames):
        env.step(env.expert_action() if role == "expert" else env.proxy_action())
        if step >= skip:
            film.append(env.painter.surface(env.simulation.state).copy())
    return film, float(env.metadata["render_fps"])


def _side_by_side(left: pygame.Surface, right: pygame.Surface, captions: tuple[str, str]) -> pygame.Surface:
    width, height = left.get_size()
    band = round(height * _CAPTION)
    canvas = Canvas(2 * width, height + band)
    canvas.scale = 1.0
    canvas.surface.fill(canvas.colors.surface)
    canvas.surface.blit(left, (0, 0))
    canvas.surface.blit(right, (width, 0))
    canvas.line((width, 0), (width, height + band), canvas.colors.line, 1)
    for column, caption in enumerate(captions):
        canvas.text(width * (column + 0.5), height + band / 2, caption, canvas.colors.muted, band * 0.5, "center")
    return canvas.surface
