"""Settings that are known to work: those that rl-zoo3 has tuned for environments of third parties.

Only its YAML files are read. The package is not imported, and the expressions in these files are not evaluated but
parsed, see `parse_expression`.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from rlhf_envs.learners.learner import find_learner
from rlhf_envs.learners.on_policy import A2CConfig, MaskablePPOConfig, PPOConfig, RecurrentPPOConfig
from rlhf_envs.learners.settings import ACTIVATIONS, LearnerConfig

_FILES = {name: name for name in ("ppo", "a2c", "sac", "td3", "dqn", "tqc")} | {"recurrent-ppo": "ppo_lstm"}
"""Learners that rl-zoo3 has settings for, and its files."""

_DEFAULTS: Mapping[str, LearnerConfig] = {
    "ppo": PPOConfig(
        num_envs=1, n_steps=2048, batch_size=64, n_epochs=10, learning_rate=3e-4, anneal=False, gamma=0.99
    ),
    "a2c": A2CConfig(num_envs=1),
    "recurrent-ppo": RecurrentPPOConfig(num_envs=1),
    "maskable-ppo": MaskablePPOConfig(num_envs=1, n_steps=2048, batch_size=64),
}
"""Stable-Baselines3's, of learners whose defaults here are others."""

_NOT_OURS = ("n_timesteps", "policy", "optimize_memory_usage")
"""What a run decides in another way: how long it trains, and by which network it reads observations."""

_NAMES = {"n_envs": "num_envs", "noise_type": "action_noise"}


@dataclass(frozen=True)
class TunedSettings:
    """The settings of rl-zoo3 for an environment and a learner.

    Attributes:
        settings: of the learner.
        tuned_for: the id under which rl-zoo3 has them, which may be of another version of the environment.
        left_out: what they ask for besides, which is not taken, by rl-zoo3's names.
    """

    settings: LearnerConfig
    tuned_for: str
    left_out: tuple[str, ...] = ()


def sb3_defaults(learner: str) -> Any:
    """The settings of a learner as Stable-Baselines3 has them, with a single copy of the environment.

    Raises:
        ValueError: if there is no such learner.
    """
    return _DEFAULTS.get(learner) or find_learner(learner).settings_class()


def zoo_is_installed() -> bool:
    """Whether rl-zoo3 is there to be read."""
    return _folder() is not None


def tuned_settings(environment_id: str, learner: str) -> TunedSettings | None:
    """The settings that rl-zoo3 has for an environment; None where it has none, or is not installed.

    Args:
        environment_id: such as "Hopper-v5"; where there is no entry of this version, the newest other one is taken, as
            rl-zoo3 has most of MuJoCo's as "-v4".
        learner: a name in `LEARNERS`.

    Raises:
        ValueError: if rl-zoo3's entry cannot be understood.
    """
    folder = _folder()
    if folder is None or learner not in _FILES:
        return None
    import yaml

    entries: dict[str, Any] = yaml.safe_load((folder / f"{_FILES[learner]}.yml").read_text(encoding="utf-8"))
    name = _entry_name(environment_id.rpartition(":")[2], entries)
    if name is None:
        return None
    try:
        found, left_out = _translate(entries[name], sb3_defaults(learner))
    except (ValueError, TypeError, SyntaxError) as error:
        raise ValueError(
            f"The settings of rl-zoo3 for {name} cannot be used with {learner} ({error}); --settings defaults does "
            "without them."
        ) from error
    return TunedSettings(found, name, tuple(left_out))


def parse_expression(text: str) -> Any:
    """The value of an expression such as "dict(log_std_init=-2, net_arch=[64, 64], activation_fn=nn.ReLU)".

    Understood are literals, `dict(...)` with names, and names of classes, which become texts. Nothing is executed.

    Raises:
        ValueError, SyntaxError: if it is anything else.
    """
    return _value(ast.parse(text.strip(), mode="eval").body)


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        return {str(word.arg): _value(word.value) for word in node.keywords if word.arg is not None}
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(each) for each in node.elts]
    if isinstance(node, ast.Attribute | ast.Name):
        return ast.unparse(node)
    return ast.literal_eval(node)


def _folder() -> Path | None:
    # Finding a package does not run it.
    spec = importlib.util.find_spec("rl_zoo3")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / "hyperparams"
    return folder if folder.is_dir() and importlib.util.find_spec("yaml") is not None else None


def _entry_name(environment_id: str, entries: Mapping[str, Any]) -> str | None:
    if environment_id in entries:
        return environment_id
    base, _, version = environment_id.rpartition("-v")
    if not version.isdecimal():
        return None
    versions = [match for name in entries if (match := re.fullmatch(rf"{re.escape(base)}-v(\d+)", name))]
    return max(versions, key=lambda match: int(match[1]))[0] if versions else None


def _translate(entry: Mapping[str, Any], defaults: LearnerConfig) -> tuple[LearnerConfig, list[str]]:
    """The entry as settings, and the names of what has no place in them."""
    known = {part.name for part in fields(defaults)}
    settings: dict[str, Any] = {}
    left_out: list[str] = []
    for key, value in _flat(entry):
        name = _NAMES.get(key, key)
        translate = _TRANSLATIONS.get(name)
        translated = translate(value) if translate is not None else {name: value}
        if translated.keys() <= known:
            settings |= translated
        elif name not in _NOT_OURS:
            left_out.append(key)
    for name in settings:
        wanted = type(getattr(defaults, name))
        if wanted in (float, int, str) and not isinstance(settings[name], bool):
            settings[name] = wanted(settings[name])
    if "batch_size" in settings and isinstance(defaults, PPOConfig):
        # Stable-Baselines3 takes the whole rollout where it is smaller than a batch.
        rollout = settings.get("num_envs", defaults.num_envs) * settings.get("n_steps", defaults.n_steps)
        settings["batch_size"] = min(settings["batch_size"], rollout)
    return replace(defaults, **settings), left_out


def _flat(entry: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in entry.items():
        if key == "policy_kwargs":
            yield from (parse_expression(value) if isinstance(value, str) else value).items()
        else:
            yield key, value


def _rate(name: str, falls: str) -> Callable[[Any], dict[str, Any]]:
    """A number, or "lin_0.001" for one that falls to 0."""

    def translate(value: Any) -> dict[str, Any]:
        text = str(value)
        return {name: float(text.removeprefix("lin_")), falls: text.startswith("lin_")}

    return translate


def _net_arch(value: Any) -> dict[str, Any]:
    layers = list(value.values()) if isinstance(value, Mapping) else [value]
    if any(each != layers[0] for each in layers):
        raise ValueError(f"policy and value function are of different sizes: {value}")
    return {"net_arch": tuple(layers[0])}


def _activation(value: str) -> dict[str, Any]:
    name = value.rpartition(".")[2].lower()
    if name not in ACTIVATIONS:
        raise ValueError(f"there is no activation {value}")
    return {"activation": name}


def _train_freq(value: Any) -> dict[str, Any]:
    if isinstance(value, list | tuple):
        return {"train_freq": value[0], "train_unit": value[1]}
    return {"train_freq": value}


def _normalize(value: Any) -> dict[str, Any]:
    wanted = (
        parse_expression(value) if isinstance(value, str) else {"norm_obs": bool(value), "norm_reward": bool(value)}
    )
    return {
        "normalize_observations": wanted.get("norm_obs", True),
        "normalize_rewards": wanted.get("norm_reward", True),
    }


_TRANSLATIONS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "learning_rate": _rate("learning_rate", "anneal"),
    "clip_range": _rate("clip_range", "anneal_clip"),
    "net_arch": _net_arch,
    "activation_fn": _activation,
    "train_freq": _train_freq,
    "normalize": _normalize,
}
