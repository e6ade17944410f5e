"""Flags that several commands share: arguments as JSON, and the environment."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro

from rlhf_envs.environment import EnvironmentRef, OnTermination, WrapperRef


def _arguments_from_json(words: list[str]) -> dict[str, Any]:
    try:
        arguments = json.loads(words[0])
    except ValueError as error:
        raise ValueError(f"{words[0]!r} is not JSON ({error}); write it like '{{\"horizon\": 100}}'.") from error
    if not isinstance(arguments, dict):
        raise ValueError(f"{words[0]!r} is not a JSON object; write it like '{{\"horizon\": 100}}'.")
    return arguments


JSONArguments = Annotated[
    dict[str, Any],
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="JSON",
        instance_from_str=_arguments_from_json,
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda value: [json.dumps(value)],
    ),
]
"""Named arguments, which the command line takes as one JSON object."""


@dataclass(frozen=True)
class EnvironmentFlags:
    """An environment as it is named on the command line.

    Attributes:
        env: the environment's id, from this suite or any that is registered with Gymnasium. An id of another package is
            written as "package:id".
        env_kwargs: arguments of the environment, as JSON.
        wrapper: a Gymnasium wrapper around each copy, as "module:Class" or 'module:Class {"argument": 1}'; repeatable,
            the first one innermost.
        horizon: steps in an episode of a third-party environment; its registered limit where None.
        on_termination: what a third-party environment does when it terminates before the horizon: "absorb" repeats the
            last observation, which pays 0, "restart" begins anew, and "leak" ends the episode, although its length then
            tells about the reward.
    """

    env: str = ""
    env_kwargs: JSONArguments = field(default_factory=dict)
    wrapper: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    horizon: int | None = None
    on_termination: OnTermination = "absorb"

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
