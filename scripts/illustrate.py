"""Make the pictures of the documentation, and the pages of the environments, anew from the code."""

from __future__ import annotations

import inspect
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gymnasium as gym
import pygame
from PIL import Image

import rlhf_envs
from rlhf_envs.cli import one_sentence_errors
from rlhf_envs.cli.flags import parse
from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.envs.canvas import Canvas
from rlhf_envs.envs.registration import ENVIRONMENTS
from rlhf_envs.envs.task import Task
from rlhf_envs.envs.views import TaskEnv
from rlhf_envs.feedback import AnnotatorSession, PreferenceStore, Query
from rlhf_envs.feedback.practice import practice_pairs
from rlhf_envs.feedback.store.status import TRAINING
from rlhf_envs.feedback.window import open_window

_FILM_SECONDS = 4.0
_FILM_FRAME = (300, 200)
_CAPTION_HEIGHT = 0.12  # of a frame's
_GIF_COLORS = 64
_SECONDS_TO_DRAW = 2.5
_ANSWERED, _ASKED = 86, 200

_INDEX = """# Environments

Each picture shows the scripted expert on the left and, from the same start, a policy that games the proxy reward on the
right. All environments have a fixed number of steps per episode, observations and actions of one fixed shape, and
`info["reward_terms"]`, the named parts of the true reward, which `gym.make(id)` pays; `objective="proxy"` pays the
proxy instead. All take `render_mode` ("rgb_array" or "human"), `frame_size` in pixels and `theme` ("light" or "dark")
besides the arguments on their pages. Your own environment has [a page of its own](../extending/environment.md).

```{toctree}
:hidden:

%s
```

"""

_INDEX_END = """---

These pages are made of the environments' docstrings by `python -m scripts.illustrate`; edit those instead.
"""

_PAGE = """# %s

%s

![The scripted expert, and a policy that games the proxy reward](%s)

| | |
|---|---|
| Action space | `%s` |
| Observation space | `%s` |
| Steps in an episode | %d |
| Question to people | %s |
| In the picture | %s |
%s| Make one copy | `gym.make("%s")` |
| Make a batch | `gym.make_vec("%s", num_envs=64)` |

%s
"""


@dataclass(frozen=True)
class Arguments:
    """Make the pictures of the documentation, and the pages of the environments, anew from the code.

    Attributes:
        folder: the documentation.
        seed: of the scenes.
        skip: how far into the episode the scenes are, in steps.
        only: the environments whose pictures are made; all of them, and the pages, where none are named.
    """

    folder: Path = Path("docs")
    seed: int = 5
    skip: int = 20
    only: tuple[str, ...] = ()


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    with one_sentence_errors():
        settings = parse(Arguments, arguments, "python -m scripts.illustrate")
        rlhf_envs.register_environments()
        pictures = settings.folder / "images"
        pictures.mkdir(parents=True, exist_ok=True)
        for environment_id in settings.only or ENVIRONMENTS:
            print(_save_film(environment_id, pictures, settings))
        if not settings.only:
            print(_save_question(pictures))
            save_window("rlhf/Driving-v1", pictures / "window.png")
            print(pictures / "window.png")
            pages = settings.folder / "environments"
            pages.mkdir(exist_ok=True)
            for name, text in environment_pages("../images").items():
                (pages / name).write_text(text, encoding="utf-8")
                print(pages / name)
    return 0


def _save_film(environment_id: str, pictures: Path, settings: Arguments) -> Path:
    captions = ("what people want", "what the proxy pays for")
    # Enough frames for any rate are drawn; those beyond the length of the film are left out.
    films, rate = pair_films(environment_id, settings.seed, settings.skip, 40, captions, _FILM_FRAME)
    path = pictures / picture_name(environment_id)
    save_gif(films[: max(round(rate * _FILM_SECONDS), 8)], rate, path)
    return path


def _save_question(pictures: Path) -> Path:
    """The picture that the README begins with: a moment of driving, as an annotator sees it."""
    captions = ("left arrow: this one", "right arrow: this one")
    [picture], _ = pair_films("rlhf/Driving-v1", 5, 69, 1, captions, (600, 400))
    path = pictures / "which_is_better.png"
    pygame.image.save(picture, path)
    return path


def environment_pages(pictures: str) -> dict[str, str]:
    """The pages, in Markdown, by the names of their files: one for each environment, and an index.

    Args:
        pictures: the folder of the pictures, as seen from the pages.
    """
    names = {environment_id: _short_name(environment_id) for environment_id in ENVIRONMENTS}
    index, pages = [_INDEX % "\n".join(names.values())], {}
    for environment_id, name in names.items():
        env = _suite_env(environment_id)
        picture = f"{pictures}/{picture_name(environment_id)}"
        summary, _, text = (inspect.getdoc(type(env.task)) or "").partition("\n\n")
        index.append(f"## [{environment_id}]({name}.md)\n\n{summary}\n\n")
        index.append(f"[![Expert and proxy]({picture})]({name}.md)\n\n")
        spaces, horizon = (env.action_space, env.observation_space), env.task.horizon
        pages[f"{name}.md"] = _PAGE % (
            *(environment_id, summary, picture, *map(_described, spaces), horizon),
            *(env.task.rubric, "<br>".join(f"{what}: {meaning}" for what, meaning in env.task.legend.items())),
            _measures_row(env.task),
            *(environment_id, environment_id, text),
        )
    return {"index.md": "".join([*index, _INDEX_END]), **pages}


def _measures_row(task: Task) -> str:
    """The row of a page that says what `info["measures"]` has; none where there are no measures."""
    described = "<br>".join(f"{name} ({each.unit}): {each.about}" for name, each in task.measures.items())
    return f'| `info["measures"]` at the end of an episode | {described} |\n' if described else ""


def picture_name(environment_id: str) -> str:
    """The file of an environment's picture."""
    return f"{_short_name(environment_id)}.gif"


def _short_name(environment_id: str) -> str:
    return environment_id.rpartition("/")[2].partition("-")[0].lower()


def _described(space: gym.Space[Any]) -> str:
    """A space as it prints, or where that is long because its bounds differ, by its shape."""
    text = " ".join(str(space).split())
    return text if len(text) <= 60 else f"{type(space).__name__}{space.shape}, {space.dtype}"


def _suite_env(environment_id: str, **arguments: Any) -> TaskEnv:
    env = gym.make(environment_id, **arguments).unwrapped
    if not isinstance(env, TaskEnv):
        raise ValueError(f"{environment_id} is not one of the suite's environments.")
    return env


def pair_films(
    environment_id: str, seed: int, skip: int, frames: int, captions: tuple[str, str], frame_size: tuple[int, int]
) -> tuple[list[pygame.Surface], float]:
    """The expert and the policy that games the proxy from the same start, side by side as an annotator sees two clips.

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
    """Write pictures as an endless GIF in one palette, so that colours do not flicker."""
    images = [Image.frombytes("RGB", picture.get_size(), pygame.image.tobytes(picture, "RGB")) for picture in pictures]
    sheet = Image.new("RGB", (images[0].width, images[0].height * 3))
    for place, index in enumerate((0, len(images) // 2, len(images) - 1)):
        sheet.paste(images[index], (0, place * images[0].height))
    palette = sheet.quantize(_GIF_COLORS)
    reduced = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    reduced[0].save(path, save_all=True, append_images=reduced[1:], duration=round(1000 / rate), loop=0, optimize=True)


def _film(
    environment_id: str, role: str, seed: int, skip: int, frames: int, frame_size: tuple[int, int]
) -> tuple[list[pygame.Surface], float]:
    env = _suite_env(environment_id, render_mode="rgb_array", frame_size=frame_size)
    env.reset(seed=seed)
    film = []
    for step in range(skip + frames):
        env.step(env.expert_action() if role == "expert" else env.proxy_action())
        if step >= skip:
            film.append(env.painter.surface(env.simulation.state).copy())
    return film, float(env.metadata["render_fps"])


def _side_by_side(left: pygame.Surface, right: pygame.Surface, captions: tuple[str, str]) -> pygame.Surface:
    width, height = left.get_size()
    band = round(height * _CAPTION_HEIGHT)
    canvas = Canvas(2 * width, height + band)
    canvas.scale = 1.0
    canvas.surface.fill(canvas.colors.surface)
    canvas.surface.blit(left, (0, 0))
    canvas.surface.blit(right, (width, 0))
    canvas.line((width, 0), (width, height + band), canvas.colors.line, 1)
    for column, caption in enumerate(captions):
        canvas.text(width * (column + 0.5), height + band / 2, caption, canvas.colors.muted, band * 0.5, "center")
    return canvas.surface


def save_window(environment_id: str, path: Path, size: tuple[int, int] = (1200, 760)) -> None:
    """Save a picture of the labelling window, opened off-screen on clips of the expert and of random actions.

    Args:
        environment_id: one of the suite.
        path: where the picture goes.
        size: (width, height) of the window in pixels.
    """
    os.environ["SDL_VIDEODRIVER"] = "dummy"
    environment = StoredEnvironment(EnvironmentRef(environment_id), 25)
    with TemporaryDirectory() as folder, PreferenceStore.create(Path(folder) / "feedback.db", environment) as store:
        pair = practice_pairs(environment, 1)[0]
        queries = [Query(f"0/train/{number}", 0, (pair.bad, pair.good)) for number in range(_ASKED)]
        answered = store.ask(queries)[-_ANSWERED:]
        store.assign("ann", answered)
        for id in answered:
            store.answer(id, "ann", "left", shown_at=float(2 * id), answered_at=float(2 * id) + 2.6)
        store.post_status(TRAINING, _training())
        with open_window(AnnotatorSession(store, "ann"), size=size) as window:
            until = time.monotonic() + _SECONDS_TO_DRAW
            while time.monotonic() < until:
                window.tick()
            pygame.image.save(window.surface, path)


def _training() -> dict[str, object]:
    curve = [[4096 * step, 20.0 + 9.0 * step**0.5, min(0.55 + 0.03 * step, 0.91)] for step in range(1, 50)]
    return {
        "state": "training",
        "waiting_for": 0,
        "timesteps": curve[-1][0],
        "total_timesteps": 500_000,
        "labels": _ANSWERED,
        "answers": _ASKED,
        "test_accuracy": 0.91,
        "learned_return": 83.0,
        "true_return": 96.0,
        "curve": curve,
    }


if __name__ == "__main__":
    sys.exit(main())
