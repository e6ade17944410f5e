"""Everything that defines a run, in one typed value; it is what `config.json` holds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro

from agents.presets import PPOConfig
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.feedback import ANNOTATORS, TeacherConfig
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.rewards import EnsembleConfig, FitConfig

Reward = Literal["learned", "true", "proxy"]
FeedbackKind = Literal["oracle", "boltzmann", "myopic", "mistake", "skip", "equal", "window", "web", "elsewhere"]
ASK_PEOPLE = ("window", "web", "elsewhere")
"""The kinds of feedback that people give: in a window or on a web page that the run opens, or wherever the store is
served by `scripts.label`."""
OnTermination = Literal["absorb", "restart", "leak"]


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
class TeacherChanges:
    """Changes to the scripted teacher that `feedback` names; what is None stays as it is there.

    `TeacherConfig` says exactly what each does.

    Attributes:
        beta: rationality of its choices: inf always prefers the higher return, 0 tosses a coin.
        gamma: weight of each step relative to the next; below 1 the teacher judges by how a segment ends.
        mistake: probability that an answer is given the wrong way round, from 0 to 1.
        skip: how good the better segment must be to be judged at all, as a share of an average stretch; 0 skips none.
        equal: how far apart two returns must lie not to be called a tie, as a share of an average stretch.
    """

    beta: float | None = None
    gamma: float | None = None
    mistake: float | None = None
    skip: float | None = None
    equal: float | None = None


@dataclass(frozen=True)
class RunConfig:
    """One training run.

    Attributes:
        env: the environment's id, from this suite or any that is registered with Gymnasium. An id of another package is
            written as "package:id".
        env_kwargs: arguments of the environment, as JSON.
        reward: what the policy is trained on: "learned" from preferences; or, as baselines, the "true" reward or the
            "proxy" that a hasty engineer would have coded.
        feedback: who answers: a scripted teacher by name; or people, in a "window" that opens, on a "web" page that is
            served as long as training goes on, or "elsewhere", by scripts.label on this or another machine. For a port
            or host of your own use "elsewhere", and scripts.label --web.
        teacher: changes to that teacher.
        store: where queries and answers meet: the SQLAlchemy URL of a PostgreSQL database of its own, for annotators on
            several machines; the file feedback.db in the run's folder where None. Give no password here, as the
            configuration is stored: PostgreSQL reads it from ~/.pgpass or PGPASSWORD.
        offline: learn from answers that were given before, and ask nothing: an exported folder (scripts.archive makes
            them), the folder of another run, or a store by its path or URL. Without an environment only the reward is
            learned.
        labels: how many comparisons are asked, when, and which. On the command line these have no prefix.
        ensemble: the reward model.
        fit: how the reward model is fitted to the answers.
        timesteps: environment steps of the training, over all copies.
        seed: of everything that is random.
        ppo: PPO's settings; the environment's preset where none are given.
        pretrain: episodes of demonstrations that the policy imitates first; 0 starts from scratch.
        demonstrations: where they come from: "expert" for the environment's scripted one, a file of recorded ones, or
            "minari:ID" for a Minari dataset.
        horizon: steps in an episode of a third-party environment; its registered limit where None.
        on_termination: what a third-party environment does when it terminates before the horizon.
        processes: run third-party copies in processes of their own.
        patience: stop training once the label budget is spent and the learned return has not risen for this many
            rollouts; None trains for all timesteps.
        evaluation_episodes: episodes on fresh seeds that the final policy is judged by.
        checkpoint_seconds: at least this time lies between two checkpoints.
        threads: of PyTorch; small networks run fastest on one.
    """

    env: str = ""
    env_kwargs: JSONArguments = field(default_factory=dict)
    reward: Reward = "learned"
    feedback: FeedbackKind = "oracle"
    teacher: TeacherChanges = field(default_factory=TeacherChanges)
    store: str | None = None
    offline: str | None = None
    labels: Annotated[FeedbackConfig, tyro.conf.arg(name="")] = field(default_factory=FeedbackConfig)
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    timesteps: int = 500_000
    seed: int = 0
    ppo: PPOConfig = field(default_factory=PPOConfig)
    pretrain: int = 0
    demonstrations: str = "expert"
    horizon: int | None = None
    on_termination: OnTermination = "absorb"
    processes: bool = False
    patience: int | None = None
    evaluation_episodes: int = 100
    checkpoint_seconds: float = 15.0
    threads: int = 1

    def __post_init__(self) -> None:
        for name, kind in (("reward", Reward), ("feedback", FeedbackKind), ("on_termination", OnTermination)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, not {getattr(self, name)!r}.")
        for name, least in (
            ("timesteps", 1),
            ("seed", 0),
            ("pretrain", 0),
            ("evaluation_episodes", 1),
            ("threads", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}.")
        if not self.checkpoint_seconds >= 0:
            raise ValueError(f"checkpoint_seconds must be 0 or more, not {self.checkpoint_seconds}.")
        try:
            json.dumps(self.env_kwargs, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"env_kwargs must be JSON values, so that a run can be repeated: {error}.") from error
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience is a number of rollouts of at least 1, not {self.patience}.")
        self.teacher_config()

    @property
    def environment(self) -> EnvironmentRef:
        """The environment of the run, whatever objective it trains on."""
        return EnvironmentRef(self.env, self.env_kwargs, (), self.horizon, self.on_termination)

    @property
    def asks_people(self) -> bool:
        """Whether the answers come from people."""
        return self.reward == "learned" and self.offline is None and self.feedback in ASK_PEOPLE

    def teacher_config(self) -> TeacherConfig | None:
        """The scripted teacher with its changes; None where people answer."""
        changes = {name: value for name, value in asdict(self.teacher).items() if value is not None}
        if self.feedback in ASK_PEOPLE:
            if changes:
                raise ValueError(
                    f"--teacher changes a scripted teacher, but with --feedback {self.feedback} people answer; leave "
                    "one of them out."
                )
            return None
        return replace(ANNOTATORS[self.feedback], seed=self.seed, **changes)

    def to_json(self) -> dict[str, Any]:
        """As values of strict JSON; `from_json` is the inverse. An infinite number is written as the text "inf"."""
        values: dict[str, Any] = _spelled_out(asdict(self))
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunConfig:
        """Read what `to_json` gave.

        Raises:
            ValueError: if a value is unknown, of another type, or out of range.
        """
        known = {part.name for part in fields(cls)}
        if unknown := set(values) - known:
            raise ValueError(f"A run's configuration has no {', '.join(sorted(unknown))}; a newer version wrote it.")
        try:
            parts = {
                name: PARTS[name](**_as_arguments(PARTS[name], value, f"{name}."))
                for name, value in values.items()
                if name in PARTS
            }
        except TypeError as error:
            raise ValueError(f"The run's configuration cannot be read: {error}.") from error
        plain = {name: value for name, value in values.items() if name not in PARTS}
        return cls(**parts, **_as_arguments(cls, plain))


PARTS: dict[str, type[Any]] = {
    "teacher": TeacherChanges,
    "labels": FeedbackConfig,
    "ensemble": EnsembleConfig,
    "fit": FitConfig,
    "ppo": PPOConfig,
}
"""The settings of a run that are groups of settings."""


def _spelled_out(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _spelled_out(part) for name, part in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


_SPELLED_OUT = ("inf", "-inf", "nan")
_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    dict: "an object",
    tuple: "a list of whole numbers",
    NoneType: "null",
}


def _as_arguments(part: type[Any], values: Any, prefix: str = "") -> dict[str, Any]:
    """JSON values as arguments of a configuration: lists become tuples, and spelled out numbers numbers again.

    Raises:
        ValueError: if a value is of another type than its field, which is named after the prefix.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{prefix.rstrip('.')} must be an object in a run's configuration, not {values!r}.")
    kinds = get_type_hints(part)
    read: dict[str, Any] = {}
    for name, value in values.items():
        kind = kinds.get(name, Any)
        choices = get_args(kind) if get_origin(kind) not in (dict, tuple, Literal) else ()
        if isinstance(value, list):
            read[name] = tuple(value)
        elif value in _SPELLED_OUT and float in (kind, *choices):
            read[name] = float(value)
        else:
            read[name] = value
        if not any(_is_a(read[name], choice) for choice in choices or (kind,)):
            wanted = " or ".join(_name(choice) for choice in choices or (kind,))
            raise ValueError(f"{prefix}{name} must be {wanted} in a run's configuration, not {value!r}.")
    return read


def _is_a(value: Any, kind: Any) -> bool:
    if kind is Any:
        return True
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(type(each) is int for each in value)
    if kind is float:
        return type(value) in (int, float)
    # Python takes True for 1, a configuration does not.
    return type(value) is (get_origin(kind) or kind)


def _name(kind: Any) -> str:
    return f"one of {', '.join(get_args(kind))}" if get_origin(kind) is Literal else _NAMES[get_origin(kind) or kind]
