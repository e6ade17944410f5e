"""Watch a policy, live or as a film, with its rewards drawn below the picture step by step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pygame
import torch
import tyro
from numpy.typing import NDArray

from rlhf_envs.cli import one_sentence_errors
from rlhf_envs.cli.flags import EnvironmentFlags, parse
from rlhf_envs.envs.rendering import opening_window
from rlhf_envs.evaluation.episodes import FIRST_SEED
from rlhf_envs.evaluation.policies import AnyPolicy, SB3Policy, named_policy
from rlhf_envs.report.film import EpisodeRenderer, film
from rlhf_envs.runs import RunDirectory


@dataclass(frozen=True)
class Arguments:
    """Watch a policy, live or as a film, with its rewards drawn below the picture step by step.

    A run shows its own policy, with the learned reward and its spread beside the true reward and its named terms. In
    the window space pauses, the right arrow steps while paused, escape ends.

    Attributes:
        run_dir: a run to watch; give either this or --env.
        environment: an environment to watch. On the command line these have no prefix.
        policy: whose actions: random ones, the constant one that earns most ("idle"), or those of the scripted policies
            that an environment may define: an expert, and one that maximises the proxy reward. By default the run's own
            policy, or random actions.
        film: write an MP4 file there, such as film.mp4, instead of opening a window.
        seed: episode i begins with seed + i.
        episodes: how many to watch.
        theme: light or dark.
    """

    run_dir: Path | None = None
    environment: Annotated[EnvironmentFlags, tyro.conf.arg(name="")] = field(default_factory=EnvironmentFlags)
    policy: Literal["random", "idle", "expert", "proxy"] | None = None
    film: Path | None = None
    seed: int = FIRST_SEED
    episodes: int = 1
    theme: Literal["light", "dark"] = "light"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    torch.set_num_threads(1)
    with one_sentence_errors():
        args = parse(Arguments, arguments, prog="rlhf-envs watch")
        _check(args)
        policy, shown = _watched(args)
        if args.film is None:
            _show(args, policy, shown)
        else:
            content = film(policy, path=args.film, episodes=args.episodes, seed=args.seed, **shown)
            print(f"Film: {args.film} ({len(content) / 1e6:.1f} MB)")
    return 0


def _check(args: Arguments) -> None:
    if (args.run_dir is None) == (args.environment.environment() is None):
        raise ValueError("Say what to watch: either --run-dir with a run's folder, or --env with an environment's id.")
    if args.episodes < 1:
        raise ValueError(f"episodes must be at least 1, not {args.episodes}.")
    if args.film is not None and args.film.suffix.lower() != ".mp4":
        raise ValueError(f"A film is an MP4 file, so its name must end in .mp4; {args.film} does not.")
    if args.film is not None and not args.film.parent.is_dir():
        raise ValueError(f"The film cannot be written to {args.film}, because there is no folder {args.film.parent}.")


def _watched(args: Arguments) -> tuple[AnyPolicy, dict[str, Any]]:
    """The policy, and the arguments of `EpisodeRenderer`."""
    policy: AnyPolicy = named_policy(args.policy or "random", args.seed)
    if args.run_dir is None:
        return policy, {"environment": args.environment.environment(), "theme": args.theme}
    run = RunDirectory(args.run_dir)
    environment, reward_model = run.read_environment(), run.load_reward_model()
    if args.policy is None:
        policy = SB3Policy(run.load_policy())
    return policy, {"environment": environment, "reward_model": reward_model, "theme": args.theme}


def _show(args: Arguments, policy: AnyPolicy, shown: dict[str, Any]) -> None:
    with (
        closing(EpisodeRenderer(**shown)) as renderer,
        closing(LiveView(shown["environment"].id, renderer.frames_per_second)) as view,
    ):
        for episode in range(args.episodes):
            if not view.play(renderer.frames(policy, args.seed + episode)):
                break


class LiveView:
    """Plays frames in a window: space pauses, the right arrow steps while paused, escape or closing it ends.

    Args:
        title: of the window, which is opened for the first frame.
        frames_per_second: how fast frames are played.
    """

    def __init__(self, title: str, frames_per_second: float) -> None:
        self.paused = False
        self._title = title
        self._rate = frames_per_second
        self._screen: pygame.Surface | None = None
        self._clock = pygame.time.Clock()

    def play(self, frames: Iterator[NDArray[np.uint8]]) -> bool:
        """Show frames (height, width, 3) uint8 until there are no more; False if the viewer ended it before.

        Raises:
            RuntimeError: if no window can be opened.
        """
        for frame in frames:
            self._show(frame)
            if not self._wait():
                return False
        return True

    def close(self) -> None:
        """Close the window."""
        pygame.display.quit()

    def _show(self, frame: NDArray[np.uint8]) -> None:
        size = (frame.shape[1], frame.shape[0])
        if self._screen is None:
            with opening_window("; on a machine without a screen make a film with --film"):
                self._screen = pygame.display.set_mode(size)
            self._caption()
        self._screen.blit(pygame.image.frombuffer(frame.tobytes(), size, "RGB"), (0, 0))
        pygame.display.flip()

    def _wait(self) -> bool:
        """Wait until the next frame is due, or while paused until a key asks for it; False to end."""
        self._clock.tick(self._rate)
        while True:
            for event in pygame.event.get():
                if event.type == pygame.QUIT:
                    return False
                if event.type != pygame.KEYDOWN:
                    continue
                if event.key == pygame.K_ESCAPE:
                    return False
                if event.key == pygame.K_SPACE:
                    self.paused = not self.paused
                    self._caption()
                elif event.key == pygame.K_RIGHT and self.paused:
                    return True
            if not self.paused:
                return True
            self._clock.tick(self._rate)

    def _caption(self) -> None:
        pygame.display.set_caption(self._title + " (paused: space goes on, right steps)" * self.paused)
