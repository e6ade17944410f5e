"""The policies that are compared: trained ones, and those that need no training."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from stable_baselines3.common.policies import BasePolicy

from agents.configuration import RunConfig
from agents.policies import POLICY_NAMES, AnyPolicy, named_policy, sb3_policy
from agents.run_directory import RunDirectory
from agents.trained import load_policy, read_policy_config
from rlhf_envs.envs.registration import is_native


@dataclass(frozen=True, eq=False)
class Contender:
    """One of the policies that are compared.

    Attributes:
        name: as people read it: of a run the last part of its path, or all of it where that is not its own.
        key: names it in the store: a fingerprint of a trained policy, so that judgements of a policy that was trained
            on or replaced since are not taken for those of the new one.
        acting: the policy as it acts from the start with this seed, of which random actions depend.
    """

    name: str
    key: str
    acting: Callable[[int], AnyPolicy]


def gather_contenders(run_dir: Path, against: Sequence[str]) -> tuple[RunConfig, list[Contender]]:
    """The task of a run, and the policies that meet in it, the run's own first.

    Args:
        run_dir: a finished run.
        against: folders of other runs of the same task, and names of `POLICY_NAMES`.

    Raises:
        ValueError: if there are fewer than two policies, one is given twice, a run has not finished, has no policy or
            is of another task, or the environment does not bring a scripted policy that is wanted.
    """
    if not against:
        raise ValueError(
            "At least two policies are needed to compare: add --against with folders of other runs, or with "
            f"{', '.join(POLICY_NAMES)}."
        )
    config = read_policy_config(RunDirectory(run_dir))
    for name in against:
        if name not in POLICY_NAMES:
            check_same_task(config, RunDirectory(name))
        elif name != "random" and not is_native(config.env):
            raise ValueError(f"{config.env} brings no scripted {name} policy; only the suite's own environments do.")
    runs = [run_dir, *(Path(name) for name in against if name not in POLICY_NAMES)]
    endings = Counter(path.resolve().name for path in runs)
    titles = [path.resolve().name if endings[path.resolve().name] == 1 else str(path) for path in runs]
    trained = iter([_trained(path, title) for path, title in zip(runs, titles, strict=True)])
    found = [next(trained), *(_untrained(name) if name in POLICY_NAMES else next(trained) for name in against)]
    by_key: dict[str, Contender] = {}
    for contender in found:
        if contender.key in by_key:
            raise ValueError(
                f"{by_key[contender.key].name} and {contender.name} are the same policy; give each policy once."
            )
        by_key[contender.key] = contender
    return config, found


def check_same_task(config: RunConfig, other: RunDirectory) -> None:
    """Refuse a run of another task.

    Raises:
        ValueError: if it is one, has no policy, or there is no run.
    """
    if not other.config_path.is_file():
        raise ValueError(
            f"{other.path} holds no run: there is no {other.config_path.name} in it; and it is none of "
            f"{', '.join(POLICY_NAMES)} either."
        )
    theirs = read_policy_config(other)
    for name in ("env", "env_kwargs", "horizon", "on_termination"):
        if getattr(theirs, name) != getattr(config, name):
            raise ValueError(
                f"The run in {other.path} has {name} = {getattr(theirs, name)} and not {getattr(config, name)}; only "
                "runs of one task can be compared."
            )


def _trained(path: Path, title: str) -> Contender:
    model = load_policy(RunDirectory(path))
    policy = sb3_policy(model)
    return Contender(title, _fingerprint(model.policy), lambda seed: policy)


def _untrained(name: str) -> Contender:
    return Contender(name, name, lambda seed: named_policy(name, seed))


def _fingerprint(policy: BasePolicy) -> str:
    """The same for the same parameters: a file that is written again has other bytes."""
    content = hashlib.blake2b(digest_size=6)
    for name, tensor in sorted(policy.state_dict().items()):
        content.update(name.encode())
        content.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return content.hexdigest()
