"""A small learning problem with a known reward, shared by the tests of the preference model."""

import numpy as np
from gymnasium import spaces

from rlhf_envs.kinds import KINDS, FeedbackKind, Label
from rlhf_envs.rewards import EnsembleConfig, PreferenceDataset, RewardEnsemble, correlation
from rlhf_envs.segments import Segment

OBSERVATION_SPACE = spaces.Box(-np.inf, np.inf, (3,), np.float32)
ACTION_SPACE = spaces.Box(-2, 2, (1,), np.float32)
STEPS = 25
ONE_FORM = EnsembleConfig(potential=False)
"""Of rewards of steps alone: what it is fitted to here is of that form, and trying others takes three times as long."""


def pendulum_segments(count: int, seed: int) -> list[Segment]:
    """Segments of a pendulum under a smooth random torque: observations (cos, sin, velocity), Pendulum-v1's reward."""
    rng = np.random.default_rng(seed)
    angle, velocity, torque = rng.uniform(-np.pi, np.pi, count), rng.uniform(-1, 1, count), np.zeros(count)
    observations, actions, rewards = [], [], []
    for _ in range(40 + STEPS):
        torque = np.clip(0.8 * torque + rng.normal(size=count), -2, 2)
        wrapped = (angle + np.pi) % (2 * np.pi) - np.pi
        observations.append(np.stack([np.cos(angle), np.sin(angle), velocity], axis=1))
        actions.append(torque[:, None])
        rewards.append(-(wrapped**2 + 0.1 * velocity**2 + 0.001 * torque**2))
        velocity = np.clip(velocity + (15 * np.sin(angle) + 3 * torque) * 0.05, -8, 8)
        angle = angle + 0.05 * velocity
    stacked = [np.stack(part[-STEPS:], axis=1).astype(np.float32) for part in (observations, actions, rewards)]
    return [Segment(*arrays) for arrays in zip(*stacked, strict=True)]


def add_comparisons(dataset: PreferenceDataset, count: int, seed: int) -> None:
    """Add `count` comparisons answered by the true returns."""
    segments = pendulum_segments(2 * count, seed)
    for left, right in zip(segments[:count], segments[count:], strict=True):
        dataset.add(left, right, float(right.true_rewards.sum() > left.true_rewards.sum()))


def add_rankings(dataset: PreferenceDataset, count: int, seed: int, size: int = 4) -> None:
    """Add `count` rankings by the true returns."""
    segments = pendulum_segments(size * count, seed)
    for start in range(0, size * count, size):
        shown = segments[start : start + size]
        best_first = sorted(range(size), key=lambda place: -float(shown[place].true_rewards.sum()))
        dataset.add_label("ranking", shown, Label(tuple(best_first)))


def add_rating(dataset: PreferenceDataset, segment: Segment, ratings: np.ndarray) -> None:
    """Add the rating of one segment."""
    dataset.add_label("rating", [segment], Label((0,), tuple(ratings.tolist())))


def add_ratings(dataset: PreferenceDataset, count: int, seed: int, noise: float = 0.3) -> None:
    """Add `count` ratings: true rewards on a scale from -1 to 1, and normal noise at every step."""
    rng = np.random.default_rng(seed)
    for segment in pendulum_segments(count, seed):
        ratings = (segment.true_rewards + 4) / 6 + noise * rng.normal(size=STEPS)
        add_rating(dataset, segment, ratings.clip(-1, 1))


def agreement(ensemble: RewardEnsemble) -> float:
    """Spearman's correlation of learned and true reward on the steps of fresh segments."""
    observations, actions, true_rewards = flat_steps(pendulum_segments(200, seed=99))
    return correlation(ensemble.reward(observations, actions), true_rewards).spearman


def new_ensemble(seed: int = 0, *kinds: FeedbackKind) -> tuple[RewardEnsemble, PreferenceDataset]:
    """An unfitted ensemble and an empty dataset, in which these kinds have settings of their own."""
    ensemble = RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE, ONE_FORM, seed=seed)
    return ensemble, PreferenceDataset(ensemble.encoder, {**KINDS, **{kind.name: kind for kind in kinds}})


def new_problem(labels: int, seed: int = 0) -> tuple[RewardEnsemble, PreferenceDataset]:
    """An unfitted ensemble and a dataset of `labels` comparisons."""
    ensemble, dataset = new_ensemble(seed)
    add_comparisons(dataset, labels, seed)
    return ensemble, dataset


def flat_steps(segments: list[Segment]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observations, actions and true rewards of all steps of the segments."""
    return (
        np.concatenate([segment.observations for segment in segments]),
        np.concatenate([segment.actions for segment in segments]),
        np.concatenate([segment.true_rewards for segment in segments]),
    )


def parameters_of(ensemble: RewardEnsemble) -> list[np.ndarray]:
    """A copy of all parameters of the network."""
    return [parameter.detach().numpy().copy() for parameter in ensemble.network.parameters()]


def returns_of(ensemble: RewardEnsemble, segments: list[Segment]) -> np.ndarray:
    """The segments' returns under each member, (members, segments)."""
    observations = np.stack([np.asarray(segment.observations) for segment in segments])
    return ensemble.segment_returns(observations, np.stack([segment.actions for segment in segments]))
