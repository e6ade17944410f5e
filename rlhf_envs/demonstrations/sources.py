"""Where demonstrations come from: a scripted expert, a recorded file, or a Minari dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import Space

from rlhf_envs.demonstrations.episodes import SUFFIX, Demonstrations, Episode, load_demonstrations
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.envs.views import TaskVectorEnv
from rlhf_envs.observations import map_observations, stack_observations
from rlhf_envs.wrappers.spaces import Adaptation, adapt_actions, adapt_observations

EXPERT = "expert"
MINARI = "minari:"


def resolve(
    source: str, environment: str | EnvironmentRef, episodes: int | None, seed: int, *, noise: float = 0.0
) -> Demonstrations:
    """Demonstrations from a source named as on the command line.

    Args:
        source: "expert" for the environment's scripted one; the path of a recorded file, which ends in .safetensors;
            or "minari:ID" for a Minari dataset, by its id or folder.
        environment: in which the expert acts.
        episodes: how many; None for all that a file or a dataset has.
        seed: of the expert's first episode.
        noise: of a scripted expert, see `from_expert`.

    Raises:
        ValueError: if the source is of no such kind, or does not have so many episodes.
    """
    if source == EXPERT:
        if episodes is None:
            raise ValueError("A scripted expert can demonstrate any number of episodes: say how many.")
        return from_expert(environment, episodes, seed, noise=noise)
    if source.startswith(MINARI):
        return from_minari(source.removeprefix(MINARI), episodes)
    if source.endswith(SUFFIX):
        return from_file(source, episodes)
    raise ValueError(
        f'Demonstrations come from "{EXPERT}", a file that ends in {SUFFIX}, or "{MINARI}ID", not from {source!r}.'
    )


def from_expert(environment: str | EnvironmentRef, episodes: int, seed: int, *, noise: float = 0.0) -> Demonstrations:
    """Episodes of the scripted expert of one of the suite's environments, all at once; episode i has seed + i.

    Args:
        environment: in which it acts.
        episodes: how many.
        seed: of the first episode, and of the noise.
        noise: the share of steps, from 0 and below 1, at which a random action is taken in place of the expert's. The
            demonstration has the expert's all the same. So it shows how to get back from where the expert itself never
            comes, which a policy that imitates it needs (noise injection: Laskey et al. 2017, arXiv 1703.09327).

    Raises:
        ValueError: if there is no such environment, or it has no expert, or the noise is no such share.
    """
    _check_count(episodes)
    if not 0.0 <= noise < 1.0:
        raise ValueError(f"The noise of an expert must be a share of steps from 0 and below 1, not {noise}.")
    ref = EnvironmentRef.of(environment)
    with closing(ref.make_vector(episodes)) as env:
        batch = env.unwrapped
        if not isinstance(batch, TaskVectorEnv):
            raise ValueError(
                f"{ref.id} has no scripted expert; give a file of recorded demonstrations (a path that ends in "
                f'{SUFFIX}) or a Minari dataset ("{MINARI}ID").'
            )
        spaces = batch.single_observation_space, batch.single_action_space
        return Demonstrations.from_episodes(ref, *spaces, _act(batch, seed, noise))


def from_file(path: str | os.PathLike[str], episodes: int | None = None) -> Demonstrations:
    """The first episodes of a recorded file; all of them by default.

    Raises:
        ValueError: if the file cannot be read, or holds fewer.
    """
    demonstrations = load_demonstrations(path)
    return demonstrations if episodes is None else demonstrations.first(episodes)


def from_minari(dataset: str | os.PathLike[str], episodes: int | None = None) -> Demonstrations:
    """The first episodes of a Minari dataset that is on this machine; all of them by default. Nothing is downloaded.

    Args:
        dataset: its id, or the folder that it lies in.
        episodes: how many.

    Raises:
        ValueError: if Minari or the dataset is not there, or it has fewer episodes.
    """
    try:
        from minari import MinariDataset, load_dataset

        folder = Path(dataset)
        if folder.is_dir():
            found = MinariDataset(folder / "data" if (folder / "data").is_dir() else folder)
        else:
            found = load_dataset(os.fspath(dataset))
    except ImportError as error:
        raise ValueError(
            f'A Minari dataset needs Minari, which `pip install "rlhf-envs[minari]"` installs ({error}).'
        ) from error
    except FileNotFoundError as error:
        raise ValueError(
            f"There is no Minari dataset {os.fspath(dataset)!r} on this machine; "
            f"`minari download {os.fspath(dataset)}` fetches a public one."
        ) from error
    if episodes is not None:
        _check_count(episodes)
        if len(found) < episodes:
            raise ValueError(f"{episodes} episodes of demonstrations were asked for, but {found.id} has {len(found)}.")
    # As the environment is made for training, see rlhf_envs.wrappers.adapt.
    shown, taken = adapt_observations(found.observation_space, found.id), adapt_actions(found.action_space, found.id)
    recorded = []
    for one in found.iterate_episodes(found.episode_indices[:episodes]):
        # Minari stores the observation after the last action, too.
        observations = _adapted(one.observations, shown, found.observation_space, len(one.rewards))
        actions = _adapted(one.actions, taken, found.action_space, len(one.rewards))
        recorded.append(Episode(observations, actions, one.rewards))
    spec = found.env_spec
    ref = EnvironmentRef(found.id) if spec is None else EnvironmentRef(spec.id, _arguments(spec.kwargs))
    return Demonstrations.from_episodes(ref, shown.space, taken.space, recorded)


def _arguments(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name != "render_mode"}


def _adapted(values: Any, adaptation: Adaptation, space: Space[Any], steps: int) -> Any:
    """The first steps of observations or actions of a space in its adaptation."""
    if adaptation.space is space:
        return map_observations(lambda array: np.asarray(array)[:steps], values)
    return stack_observations([adaptation.forward(_step(values, step)) for step in range(steps)])


def _step(values: Any, step: int) -> Any:
    """One step of nested values, which are arrays or lists over steps at the leaves."""
    if isinstance(values, Mapping):
        return {key: _step(part, step) for key, part in values.items()}
    return tuple(_step(part, step) for part in values) if isinstance(values, tuple) else values[step]


def _act(batch: TaskVectorEnv, seed: int, noise: float) -> list[Episode]:
    steps = []
    observations, _ = batch.reset(seed=seed)
    batch.action_space.seed(seed)
    rng = np.random.default_rng(seed)
    for _ in range(batch.horizon):
        actions = batch.expert_action()
        taken = actions
        if noise > 0.0:
            taken, is_random = actions.copy(), rng.random(batch.num_envs) < noise
            taken[is_random] = batch.action_space.sample()[is_random]
        next_observations, _, _, _, info = batch.step(taken)
        steps.append((observations, actions, info["true_reward"]))
        observations = next_observations
    # From (steps, copies, ...) to one run of steps per copy.
    per_copy = (np.stack(arrays, axis=1) for arrays in zip(*steps, strict=True))
    return [Episode(*arrays) for arrays in zip(*per_copy, strict=True)]


def _check_count(episodes: int) -> None:
    if episodes < 1:
        raise ValueError(f"The number of episodes of demonstrations must be at least 1, not {episodes}.")
