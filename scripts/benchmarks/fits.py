"""What single settings of a fit are worth, with simulated answers and without training policies.

Segments come from mixtures of the environment's scripted expert and random actions. A fit is judged by the share of
fresh pairs of segments, none of them trained on, that it puts in the order of their true returns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.loop.clip_length import frame_rate
from rlhf_envs.rewards import EnsembleConfig, FitConfig, PreferenceDataset, RewardEnsemble, fit
from rlhf_envs.segments import Segment
from scripts.benchmarks import Log, markdown_table, require_positive

ENVIRONMENTS = ("rlhf/Driving-v1", "rlhf/Headset-v1")

SEGMENTS = 900
"""That answers are about."""

_COPIES = 48
_TESTED, _PAIRS, _UNLABELLED = 500, 900, 256
_FIRST_TEST_SEED = 1_000_000


class Scene:
    """Segments of mixtures of the scripted expert's and random actions, with what is needed to ask about them.

    Args:
        environment: of the suite, with a scripted expert.
        seed: of the episodes.
        expert: whether the expert acts alone.

    Attributes:
        length: steps in a segment.
        clip, episode: seconds of a clip and of an episode.
        spaces: observation and action space.
    """

    def __init__(self, environment: EnvironmentRef, seed: int, expert: bool = False) -> None:
        self._environment = environment
        self.length = FeedbackConfig().for_environment(environment).steps
        with closing(environment.make_vector(_COPIES)) as vector:
            env: Any = vector.unwrapped
            self.spaces = vector.single_observation_space, vector.single_action_space
            horizon, rate = int(env.horizon), frame_rate(environment) or 10.0
            self.clip, self.episode = self.length / rate, horizon / rate
            weights: Mapping[str, float] = env.task.reward_weights
            rng = np.random.default_rng([seed, 1])
            vector.action_space.seed(seed)
            shares = np.linspace(0.0, 0.0 if expert else 1.0, _COPIES)
            observations, _ = vector.reset(seed=seed)
            told: list[list[Any]] = [[] for _ in range(5)]
            for _ in range(horizon):
                random: Any = vector.action_space.sample()
                own = np.asarray(env.expert_action())
                drawn = (rng.random(_COPIES) < shares).reshape(-1, *[1] * (own.ndim - 1))
                actions = np.where(drawn, random, own).astype(own.dtype)
                states = env.snapshot()
                following, _, _, _, info = vector.step(actions)
                terms = np.stack([weights[name] * info["reward_terms"][name] for name in weights])
                for kept, new in zip(told, (observations, actions, info["true_reward"], states, terms), strict=True):
                    kept.append(np.array(new))
                observations = following
            # (steps, copies, ...), terms (steps, terms, copies).
            self._played = tuple(np.stack(kept) for kept in told)

    def cut(self, count: int, rng: np.random.Generator) -> tuple[list[Segment], NDArray[np.float64]]:
        """Segments at random places, and the return of each in each term of the reward, (count, terms)."""
        observations, actions, rewards, states, terms = self._played
        starts = rng.integers(0, len(rewards) - self.length + 1, count)
        rows = rng.integers(0, _COPIES, count)
        segments, of_terms = [], []
        for start, row in zip(starts, rows, strict=True):
            steps = slice(start, start + self.length)
            parts = (played[steps, row] for played in (observations, actions, rewards, states))
            segments.append(Segment(*parts))
            of_terms.append(terms[steps, :, row].sum(axis=0))
        return segments, np.array(of_terms, np.float64)

    def corrected(self, segments: Sequence[Segment]) -> list[Segment]:
        """Each segment, of which the expert does the last two thirds."""
        begun = self.length // 3
        states = np.stack([segment.states[begun] for segment in segments if segment.states is not None])
        with closing(self._environment.make_vector(len(segments))) as vector:
            env: Any = vector.unwrapped
            vector.reset(seed=0)
            env.restore(states)
            shown: Any = np.stack([np.asarray(segment.observations)[begun] for segment in segments])
            parts: list[tuple[Any, Any, Any, Any]] = []
            for _ in range(begun, self.length):
                actions, before = np.asarray(env.expert_action()), env.snapshot()
                following, _, _, _, info = vector.step(actions)
                parts.append((shown, actions, info["true_reward"], before))
                shown = following
        acted = [np.stack(each, axis=1) for each in zip(*parts, strict=True)]
        return [
            Segment(
                *(
                    np.concatenate([np.asarray(kept)[:begun], new[row].astype(np.asarray(kept).dtype)])
                    for kept, new in zip(
                        (one.observations, one.actions, one.true_rewards, one.states), acted, strict=True
                    )
                )
            )
            for row, one in enumerate(segments)
        ]


def returns_of(segments: Sequence[Segment]) -> NDArray[np.float64]:
    """The true return of each segment, (M,)."""
    return np.array([segment.true_rewards.sum(dtype=np.float64) for segment in segments])


@dataclass(frozen=True, eq=False)
class Judged:
    """Fresh pairs of segments that fits are judged by.

    Attributes:
        segments: of which they are made.
        left, right: (pairs,) places of theirs.
    """

    segments: list[Segment]
    left: NDArray[np.intp]
    right: NDArray[np.intp]

    @classmethod
    def in_environment(cls, environment: EnvironmentRef) -> Judged:
        """Random pairs with different returns, from episodes that nothing is trained on."""
        scene, rng = Scene(environment, _FIRST_TEST_SEED), np.random.default_rng([0, 3])
        segments, _ = scene.cut(_TESTED, rng)
        returns = returns_of(segments)
        left, right = (rng.integers(0, _TESTED, 4 * _PAIRS) for _ in range(2))
        apart = np.flatnonzero(returns[left] != returns[right])[:_PAIRS]
        return cls(segments, left[apart], right[apart])

    @cached_property
    def _wanted(self) -> NDArray[np.bool_]:
        returns = returns_of(self.segments)
        return returns[self.right] > returns[self.left]

    def accuracy(self, ensemble: RewardEnsemble) -> float:
        """The share that an ensemble puts in the right order, by the mean of its members' probabilities."""
        steps = len(self.segments[0])
        observations = np.concatenate([np.asarray(segment.observations) for segment in self.segments])
        actions = np.concatenate([segment.actions for segment in self.segments])
        returns = ensemble.encoded_returns(ensemble.encoder.encode(observations, actions), steps)
        right = expit(returns[:, self.right] - returns[:, self.left]).mean(axis=0) > 0.5
        return float((right == self._wanted).mean())


def share(values: Sequence[float]) -> str:
    """A mean in percent with its standard error."""
    mean = 100 * float(np.mean(values))
    return (
        f"{mean:.1f}%" if len(values) < 2 else f"{mean:.1f} ± {100 * np.std(values, ddof=1) / len(values) ** 0.5:.1f}%"
    )


def with_expert(id: str) -> EnvironmentRef:
    """An environment of the suite.

    Raises:
        ValueError: if it is none.
    """
    ref = EnvironmentRef(id)
    if not ref.is_native:
        raise ValueError(f"Simulated answers need a scripted expert, which {id} does not have; name one of the suite.")
    return ref


@dataclass(frozen=True)
class Ingredient:
    """What is changed in a fit.

    Attributes:
        fit, ensemble: settings of `FitConfig` and of `EnsembleConfig`.
        implied: add what follows from two answers: who prefers A to B and B to C prefers A to C.
    """

    fit: Mapping[str, Any] = field(default_factory=dict)
    ensemble: Mapping[str, Any] = field(default_factory=dict)
    implied: bool = False


INGREDIENTS: dict[str, Ingredient] = {
    "nothing": Ingredient(),
    "network alone, no additive part": Ingredient(ensemble={"additive": False}),
    "no group lasso": Ingredient(fit={"group_lasso": 0.0}),
    "no ridge": Ingredient(fit={"ridge": 0.0}),
    "neither": Ingredient(fit={"group_lasso": 0.0, "ridge": 0.0}),
    "3 members": Ingredient(ensemble={"members": 3}),
    "no random windows": Ingredient(fit={"crop": 1.0}),
    "random windows of half a segment": Ingredient(fit={"crop": 0.5}),
    "dynamics 0.1": Ingredient(fit={"dynamics": 0.1}),
    "dynamics 1": Ingredient(fit={"dynamics": 1.0}),
    "pseudo-labels 0.95": Ingredient(fit={"pseudo_labels": 0.95}),
    "pseudo-labels 0.99": Ingredient(fit={"pseudo_labels": 0.99}),
    "implied order": Ingredient(implied=True),
    "label smoothing 0.2": Ingredient(fit={"label_smoothing": 0.2}),
    "small loss 1": Ingredient(fit={"small_loss": 1.0}),
}
"""What `Fits` compares."""

ERRORS = ("none", "30% at random", "by likeness", "30% always left")
"""How answers are wrong: not at all; with probability 0.3; as P(right) = sigmoid(1.5 d / m), with d the difference of
the returns and m its median; and in three of ten cases left without looking."""

_LIKENESS, _MISTAKEN = 1.5, 0.3
_ASKED_AGAIN = 0.3


@dataclass(frozen=True)
class Fits:
    """Change one setting of a fit at a time, on the same comparisons, right ones and wrong ones.

    Attributes:
        env: environments of the suite that have a scripted expert.
        answers: budgets of comparisons.
        ingredients: names in the table `INGREDIENTS` of scripts/benchmarks/fits.py; "nothing" is always among them.
        errors: how answers are wrong; names in `ERRORS`. Wrong answers are tried with the largest budget alone.
        seeds: how many fits of each kind, each to other answers.
        first_seed: of these.
        potential: whether a fit may choose a potential besides or alone, for which it takes at most twice as long.
    """

    name: ClassVar[str] = "fits"
    env: tuple[str, ...] = ENVIRONMENTS
    answers: tuple[int, ...] = (25, 50, 100)
    ingredients: tuple[str, ...] = tuple(INGREDIENTS)
    errors: tuple[str, ...] = ERRORS
    seeds: int = 4
    first_seed: int = 0
    potential: bool = False

    def __post_init__(self) -> None:
        require_positive(self, "seeds")
        for known, wanted in ((INGREDIENTS, self.ingredients), (ERRORS, self.errors)):
            if unknown := [name for name in wanted if name not in known]:
                raise ValueError(f"There is no {unknown[0]!r}; choose from {', '.join(known)}.")
        if not self.answers or min(self.answers) < 1:
            raise ValueError(f"answers must be budgets of at least 1, not {self.answers}.")

    def measure(self, out: Path, log: Log) -> dict[str, Any]:
        """The accuracy of every fit.

        Raises:
            ValueError: if an environment has no scripted expert.
        """
        torch.set_num_threads(1)
        columns = [(count, "none") for count in self.answers if "none" in self.errors]
        columns += [(max(self.answers), error) for error in self.errors if error != "none"]
        rows = []
        for id in self.env:
            ref = with_expert(id)
            judged = Judged.in_environment(ref)
            for seed in range(self.first_seed, self.first_seed + self.seeds):
                scene = Scene(ref, seed)
                rng = np.random.default_rng([seed, 4])
                segments, _ = scene.cut(SEGMENTS, rng)
                unlabelled, _ = scene.cut(_UNLABELLED, rng)
                for count, error in columns:
                    asked = list(comparisons(segments, count, error, np.random.default_rng([seed, count])))
                    for name in dict.fromkeys(("nothing", *self.ingredients)):
                        plain = RewardEnsemble(
                            *scene.spaces,
                            replace(EnsembleConfig(potential=self.potential), **INGREDIENTS[name].ensemble),
                            seed,
                        )
                        accuracy = judged.accuracy(_fitted(plain, INGREDIENTS[name], segments, asked, unlabelled))
                        rows.append(
                            {
                                "env": id,
                                "seed": seed,
                                "answers": count,
                                "errors": error,
                                "changed": name,
                                "accuracy": accuracy,
                            }
                        )
                log(f"{id}, seed {seed}: done")
        return {"rows": rows}

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """Accuracy of the defaults, and the difference of each change to them, fit by fit."""
        rows, table = measured["rows"], []
        columns = list(dict.fromkeys((row["answers"], row["errors"]) for row in rows))
        for name in dict.fromkeys(row["changed"] for row in rows):
            cells = {"changed": name}
            for count, error in columns:
                found, plain = (
                    np.array(
                        [
                            row["accuracy"]
                            for row in rows
                            if (row["answers"], row["errors"], row["changed"]) == (count, error, changed)
                        ]
                    )
                    for changed in (name, "nothing")
                )
                title = f"{count} answers" + ("" if error == "none" else f", {error}")
                cells[title] = share(found.tolist()) if name == "nothing" else _points(found - plain)
            table.append(cells)
        return markdown_table(table)


def _points(differences: NDArray[np.float64]) -> str:
    """A mean difference in percentage points with its standard error."""
    mean = f"{100 * differences.mean():+.1f}"
    return mean if len(differences) < 2 else f"{mean} ± {100 * differences.std(ddof=1) / len(differences) ** 0.5:.1f}"


def comparisons(
    segments: Sequence[Segment], count: int, error: str, rng: np.random.Generator
) -> Iterator[tuple[int, int, bool]]:
    """Answered questions: places of the left and the right segment, and whether right is said to be better.

    Three of ten left segments were asked about before, as in a run, so that some answers imply others.
    """
    returns = returns_of(segments)
    pairs = rng.permutation(len(segments))[: len(segments) // 2 * 2].reshape(-1, 2)
    middle = float(np.median(np.abs(returns[pairs[:, 1]] - returns[pairs[:, 0]]))) or 1.0
    asked: list[int] = []
    for _ in range(count):
        left, right = rng.integers(0, len(segments), 2)
        if asked and rng.random() < _ASKED_AGAIN:
            left = int(rng.choice(asked))
        asked += [int(left), int(right)]
        apart = returns[right] - returns[left]
        says_right, draw = apart > 0 or (apart == 0 and rng.random() < 0.5), rng.random()
        if error == "30% at random" and draw < _MISTAKEN:
            says_right = not says_right
        elif error == "by likeness":
            says_right = draw < expit(_LIKENESS * apart / middle)
        elif error == "30% always left" and draw < _MISTAKEN:
            says_right = False
        yield int(left), int(right), bool(says_right)


def implied_order(answers: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """What follows from answers by transitivity, and was not said: (worse, better) from such pairs.

    Pairs that contradict each other, on a cycle, imply nothing about themselves.
    """
    above: dict[int, set[int]] = {}
    for worse, better in answers:
        above.setdefault(worse, set()).add(better)
    reached: dict[int, set[int]] = {}
    for start in above:
        seen, open_ends = set(), [*above[start]]
        while open_ends:
            place = open_ends.pop()
            if place not in seen:
                seen.add(place)
                open_ends += above.get(place, ())
        reached[start] = seen
    said = set(answers)
    return [
        (worse, better)
        for worse, betters in reached.items()
        for better in sorted(betters)
        if worse != better and (worse, better) not in said and worse not in reached.get(better, ())
    ]


def _fitted(
    ensemble: RewardEnsemble,
    ingredient: Ingredient,
    segments: Sequence[Segment],
    asked: Sequence[tuple[int, int, bool]],
    unlabelled: Sequence[Segment],
) -> RewardEnsemble:
    dataset = PreferenceDataset(ensemble.encoder)
    for left, right, says_right in asked:
        dataset.add(segments[left], segments[right], float(says_right))
    if ingredient.implied:
        said = [(left, right) if says_right else (right, left) for left, right, says_right in asked]
        for worse, better in implied_order(said):
            dataset.add(segments[worse], segments[better], 1.0)
    config = replace(FitConfig(), **ingredient.fit)
    encoded = None
    if config.uses_unlabelled:
        observations = np.concatenate([np.asarray(segment.observations) for segment in unlabelled])
        actions = np.concatenate([segment.actions for segment in unlabelled])
        steps = ensemble.encoder.encode(observations, actions)
        encoded = steps.unflatten(len(unlabelled), len(unlabelled[0]))
    fit(ensemble, dataset, config, unlabelled=encoded)
    return ensemble
