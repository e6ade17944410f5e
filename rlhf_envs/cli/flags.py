"""Groups of flags that several commands share."""

from __future__ import annotations

import getpass
import importlib.util
import io
import json
import math
import re
import sys
from collections.abc import Collection
from contextlib import nullcontext, redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args

import tyro

from rlhf_envs.environment import EnvironmentRef, OnTermination, WrapperRef
from rlhf_envs.json_values import check_sizes
from rlhf_envs.queries import Purpose

if TYPE_CHECKING:
    from rlhf_envs.feedback import AnnotatorSession, PreferenceStore


def _arguments_from_json(words: list[str]) -> dict[str, Any]:
    try:
        arguments = json.loads(words[0])
    except ValueError as error:
        raise ValueError(f"{words[0]!r} is not JSON ({error}); write it like '{{\"horizon\": 100}}'.") from error
    if not isinstance(arguments, dict):
        raise ValueError(f"{words[0]!r} is not a JSON object; write it like '{{\"horizon\": 100}}'.")
    return arguments


_JSON_FLAG = tyro.constructors.PrimitiveConstructorSpec[Any](
    nargs=1,
    metavar="JSON",
    instance_from_str=_arguments_from_json,
    is_instance=lambda value: isinstance(value, dict),
    str_from_instance=lambda value: [json.dumps(value)],
)

JSONArguments = Annotated[dict[str, Any], _JSON_FLAG]
"""Named arguments, which the command line takes as one JSON object."""

FLAG_TYPES = tyro.constructors.ConstructorRegistry()
"""How commands read settings whose types are not of the command line.

Shares by name, `dict[str, float]`, are names and numbers in turn: `--kinds ranking 0.3 rating 0.2`. Other arguments by
name, `dict[str, Any]`, are one JSON object.
"""

Flags = TypeVar("Flags")


def parse(flags: type[Flags], words: list[str] | None, prog: str, help_flag: str = "--help", **settings: Any) -> Flags:
    """Read a command line.

    Args:
        flags: the dataclass, or union of them, that the flags fill.
        words: the command line; that of this process where None.
        prog: what its user calls the command.
        help_flag: what lists all flags, which is what a wrong one points to.
        **settings: others of `tyro.cli`.

    Raises:
        ValueError: if a value is out of range.
        SystemExit: if there is no such flag, or help was asked for.
    """
    said = io.StringIO()
    try:
        with redirect_stderr(said) if help_flag != "--help" else nullcontext():
            parsed = tyro.cli(flags, args=words, prog=prog, registry=FLAG_TYPES, **settings)
    finally:
        # What frames the sentence stays as wide as it was.
        footer = rf"--help {{{len(help_flag) - 6}}}(?= *\S?$)"
        sys.stderr.write(re.sub(footer, help_flag, said.getvalue(), flags=re.MULTILINE))
    check_sizes(parsed)
    return parsed


@FLAG_TYPES.primitive_rule
def _shares_flag(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec[Any] | None:
    if info.type_origin is not dict or get_args(info.type) != (str, float):
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="NAME SHARE ...",
        instance_from_str=_shares_from_words,
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda value: [word for name, share in value.items() for word in (name, str(share))],
    )


@FLAG_TYPES.primitive_rule
def _json_flag(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec[Any] | None:
    return _JSON_FLAG if info.type_origin is dict and get_args(info.type) == (str, Any) else None


def _shares_from_words(words: list[str]) -> dict[str, float]:
    names, shares = words[::2], words[1::2]
    try:
        return dict(zip(names, map(float, shares), strict=True))
    except ValueError as error:
        raise ValueError(
            f"{' '.join(words)!r} are not names and shares in turn; write them like ranking 0.3 rating 0.2."
        ) from error


@dataclass(frozen=True)
class EnvironmentFlags:
    """An environment as it is named on the command line.

    Attributes:
        env: the environment's id, from this suite or any that is registered with Gymnasium. An id of another package is
            written as "package:id".
        env_kwargs: arguments of the environment, as JSON.
        wrapper: a Gymnasium wrapper around each copy, as "module:Class" or 'module:Class={"argument": 1}'; repeatable,
            the first one innermost.
        horizon: steps in an episode of a third-party environment; its registered limit where None.
        on_termination: what a third-party environment does when it terminates before the horizon: "terminate" ends the
            episode, and what that is worth is asked about like everything else; "restart" begins anew until then.
    """

    env: str = ""
    env_kwargs: JSONArguments = field(default_factory=dict)
    wrapper: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    horizon: int | None = None
    on_termination: OnTermination = "terminate"

    @classmethod
    def of(cls, environment: EnvironmentRef | None) -> EnvironmentFlags:
        """The flags that name an environment."""
        if environment is None:
            return cls()
        ref = environment
        wrappers = tuple(str(wrapper) for wrapper in ref.wrappers)
        return cls(ref.id, dict(ref.kwargs), wrappers, ref.horizon, ref.on_termination)  # type: ignore[arg-type]

    def environment(self) -> EnvironmentRef | None:
        """The environment; None where no id is given.

        Raises:
            ValueError: if a value is out of range.
        """
        if not self.env:
            return None
        wrappers = tuple(WrapperRef.of(wrapper) for wrapper in self.wrapper)
        return EnvironmentRef(self.env, self.env_kwargs, wrappers, self.horizon, self.on_termination)


SCREENS = ("window", "web")
"""What people answer on, as --feedback names it."""


@dataclass(frozen=True)
class ScreenFlags:
    """The window and the web page on which people answer.

    Attributes:
        annotator: who answers in the window; the name of your account where none is given.
        annotators: who gets a personal link to the web page; --annotator alone where none are given.
        renew: whose link should be a new one; the old one then no longer works.
        host: where the page can be reached from; the default is this machine alone.
        port: of the web page; 0 chooses a free one.
        url: where people reach the page if it stands behind a proxy, such as https://lab.example.org/study.
        theme: of the window, light or dark.
        answers_per_minute: how fast anybody may answer on the page for long, so that a link in wrong hands does not use
            up the questions; 0 for no limit.
    """

    annotator: str = ""
    annotators: tuple[str, ...] = ()
    renew: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8000
    url: str = ""
    theme: Literal["light", "dark"] = "light"
    answers_per_minute: float = 60.0

    @property
    def name(self) -> str:
        """The name of the person at this machine.

        Raises:
            ValueError: if none is given and the system has none.
        """
        if self.annotator:
            return self.annotator
        try:
            return getpass.getuser()
        except (KeyError, OSError) as error:  # in a container the user's number often has no name
            raise ValueError("This system has no name for you; say who answers with --annotator.") from error

    def check(self) -> None:
        """Check the flags.

        Raises:
            ValueError: if one is out of its range.
        """
        if not 0 <= self.port <= 65535:
            raise ValueError(f"A port is a number from 0 to 65535, not {self.port}.")
        if not 0 <= self.answers_per_minute < math.inf:
            raise ValueError(f"answers_per_minute must be 0 or more, and finite, not {self.answers_per_minute}.")
        from rlhf_envs.feedback.web import checked_url

        checked_url(self.url)

    def open_window(
        self,
        store: PreferenceStore,
        purposes: Collection[Purpose],
        repeat_rate: float = 0.0,
        until_finished: bool = False,
    ) -> AnnotatorSession:
        """Let the person at this machine answer in the window until they close it; their session."""
        from rlhf_envs.feedback import AnnotatorSession
        from rlhf_envs.feedback.store.reading import look_alike
        from rlhf_envs.feedback.window import label_in_window

        other = store.database.read(look_alike, self.name)
        if other is not None:
            raise ValueError(
                f"{self.name!r} looks like {other!r}, who is here already; use that name, or give another one "
                "(--annotator)."
            )
        # There is practice before the questions of a training only.
        session = AnnotatorSession(store, self.name, purposes=purposes, repeat_rate=repeat_rate, practice=True)
        label_in_window(session, theme=self.theme, until_finished=until_finished)
        return session

    def serve_page(
        self,
        store: PreferenceStore,
        purposes: Collection[Purpose],
        clip_folder: Path,
        repeat_rate: float = 0.0,
        until_finished: bool = False,
    ) -> None:
        """Serve the web page until it is stopped."""
        from rlhf_envs.feedback.web import serve

        serve(
            store,
            annotators=self.annotators or (self.name,),
            renew=self.renew,
            clip_folder=clip_folder,
            host=self.host,
            port=self.port,
            repeat_rate=repeat_rate,
            purposes=purposes,
            until_finished=until_finished,
            base_url=self.url,
            answers_per_minute=self.answers_per_minute,
        )


def check_screen(feedback: str) -> None:
    """Find out before any work whether this machine can show people what they answer on.

    Args:
        feedback: who answers; anything but "window" and "web" needs no screen.

    Raises:
        RuntimeError: if no window can be opened, or what serves the web page is not installed.
    """
    if feedback == "window":
        import pygame

        from rlhf_envs.envs.rendering import opening_window

        with opening_window("; on a machine without a screen use --feedback web"):
            pygame.display.quit()
    if feedback == "web" and any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn")):
        raise RuntimeError("The web page needs FastAPI and uvicorn: pip install 'rlhf-envs[web]'.")
