"""What kinds of feedback tell in the time that they take of a person: bits, fits and policies, at equal seconds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, xlogy
from scipy.stats import differential_entropy

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.kinds import KINDS, Comparison, Judgement, TeacherConfig
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.loop.clip_length import frame_rate
from rlhf_envs.queries import Choice, Query
from rlhf_envs.rewards import EnsembleConfig, PreferenceDataset, RewardEnsemble, fit
from scripts.benchmarks import NOTHING, Log, markdown_table, require_positive
from scripts.benchmarks.fits import ENVIRONMENTS, SEGMENTS, Judged, Scene, returns_of, share, with_expert
from scripts.benchmarks.learning import RUNS_FOLDER
from scripts.benchmarks.runs import TrainingRun, configure, folder_of, run_record

AGREEMENT = 0.87
"""The share of random pairs in which the simulated person agrees with the true return: 52 of 60 comparisons of Driving
that were answered at the window."""

KEY, DECISION = 0.2, 1.35
"""Seconds of a keystroke and of a mental act before one, K and M of the keystroke-level model (Card, Moran and Newell
1980, "The keystroke-level model for user performance time with interactive systems", table 1)."""

WAYS = ("comparison", "comparison with a reason", "strength", "ranking", "rating", "correction", "demonstration")
"""What `Kinds` compares: all the ways of telling something on the screens of this package."""

_PER_DEMONSTRATION, _CORRECTED = 100, 256
_RANKED = 4
_LN2 = math.log(2)


def seconds_of(way: str, clip: float, episode: float) -> float:
    """What an answer takes of a person's time who knows the screen, by the keystroke-level model.

    A clip is watched once, several side by side in one go; two goes for the four of a ranking. Then come decisions (M)
    and keys (K).

    Args:
        way: one of `WAYS`.
        clip, episode: seconds of a clip, and of an episode for a demonstration.
    """
    return {
        "comparison": clip + DECISION + KEY,
        "comparison with a reason": clip + 2 * (DECISION + KEY),
        # Every second preference is clear, which takes Shift.
        "strength": clip + 2 * DECISION + 1.5 * KEY,
        # The last clip places itself; Enter confirms.
        "ranking": 2 * clip + 3 * (DECISION + KEY) + KEY,
        # At half speed, between the key that starts it and Enter.
        "rating": 2 * clip + 2 * (DECISION + KEY),
        # Watch, C, clip and moment, act for the rest of the clip, watch both, Enter.
        "correction": 2 * clip + 2 * clip / 3 + 3 * DECISION + 4 * KEY,
        "demonstration": episode + DECISION + KEY,
    }[way]


def rationality(differences: NDArray[np.float64], agreement: float = AGREEMENT) -> float:
    """The beta of a Boltzmann teacher that agrees with the sign of so many of these differences of returns on average.

    Differences of 0 are answered by a coin.
    """
    apart = np.abs(differences)
    scale = 1 / max(float(apart.mean()), 1e-9)
    most = 1 - float((apart == 0).mean()) / 2
    wanted = min(agreement, most - 1e-3)
    return float(brentq(lambda power: expit(scale * math.exp(power) * apart).mean() - wanted, -12, 12))


def boltzmann_beta(differences: NDArray[np.float64], agreement: float = AGREEMENT) -> float:
    """`rationality` as beta in units of the returns themselves."""
    return math.exp(rationality(differences, agreement)) / max(float(np.abs(differences).mean()), 1e-9)


def _entropy(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """In bits, along the last axis."""
    return np.asarray(-xlogy(probabilities, probabilities).sum(axis=-1) / _LN2)


def bits_of_comparisons(differences: NDArray[np.float64], beta: float) -> float:
    """Mutual information of left or right and the returns: H(answer) - H(answer | returns), averaged over pairs.

    Args:
        differences: of the returns, (pairs,); which segment is on which side is random.
        beta: of the Boltzmann teacher who answers.
    """
    right = expit(beta * differences)
    return 1.0 - float(_entropy(np.stack([right, 1 - right], axis=-1)).mean())


def bits_of_strengths(differences: NDArray[np.float64], beta: float) -> float:
    """The same of left or right, slightly or clearly: clear is what is perceived above the median difference."""
    clear = beta * float(np.median(np.abs(differences)))
    perceived = beta * np.concatenate([differences, -differences])
    below = np.stack([expit(edge - perceived) for edge in (-clear, 0.0, clear)], axis=-1)
    answers = np.diff(np.concatenate([np.zeros((len(below), 1)), below, np.ones((len(below), 1))], axis=1), axis=1)
    return float(_entropy(answers.mean(axis=0)) - _entropy(answers).mean())


def bits_of_rankings(returns: NDArray[np.float64], beta: float) -> float:
    """The same of an order that is drawn from Plackett-Luce.

    Args:
        returns: of the segments of each ranking, (rankings, k); in which place of the screen each is is random.
        beta: of the teacher who answers.
    """
    merits = beta * returns
    orders = np.array(list(permutations(range(returns.shape[1]))))
    sorted_merits = merits[:, orders]
    # log P = sum over places of merit - logsumexp of those that are left.
    left = np.flip(np.logaddexp.accumulate(np.flip(sorted_merits, axis=2), axis=2), axis=2)
    chances = np.exp((sorted_merits - left).sum(axis=2))
    return float(math.log2(len(orders)) - _entropy(chances).mean())


def bits_of_ratings(returns: NDArray[np.float64], beta: float, rng: np.random.Generator) -> float:
    """The same of the sum of the ratings of a segment, which is its return with Gumbel noise of scale 1 / beta."""
    said = returns + rng.gumbel(size=(20, len(returns))) / beta
    noise = (1 + np.euler_gamma - math.log(beta)) / _LN2
    return max(float(differential_entropy(said.ravel(), base=2)) - noise, 0.0)


def bits_of_one_side(better: float) -> float:
    """The same where it is known which side is said to be better, and it is in such a share of cases."""
    return 1.0 - float(_entropy(np.array([better, 1 - better])))


class Person:
    """Who answers about a scene: as a Boltzmann teacher who agrees with the true return in `AGREEMENT` of random pairs.

    Args:
        scene: what is asked about.
        expert: what is demonstrated.
        seed: of answers and questions.
    """

    def __init__(self, scene: Scene, expert: Scene, seed: int) -> None:
        self._scene, self._expert = scene, expert
        rng = np.random.default_rng([seed, 2])
        self._segments, self._terms = scene.cut(SEGMENTS, rng)
        self._returns = returns_of(self._segments)
        pairs = rng.permutation(SEGMENTS)[: SEGMENTS // 2 * 2].reshape(-1, 2)
        self._differences = self._returns[pairs[:, 1]] - self._returns[pairs[:, 0]]
        self.beta = boltzmann_beta(self._differences)
        self._judgement = Judgement(TeacherConfig(beta=self.beta, seed=seed))
        self._pairs = pairs
        rewards = np.stack([segment.true_rewards for segment in self._segments])
        self._contexts = {name: kind.context(rewards) for name, kind in KINDS.items()}

    def bits(self) -> dict[str, float]:
        """Of each way of telling: of one answer, and of a whole demonstration."""
        rng = np.random.default_rng(0)
        order = rng.permutation(SEGMENTS)[: SEGMENTS // _RANKED * _RANKED].reshape(-1, _RANKED)
        compared = bits_of_comparisons(self._differences, self.beta)
        some = self._segments[:_CORRECTED]
        improved = returns_of(self._scene.corrected(some)) > returns_of(some)
        shown = returns_of(self._expert.cut(SEGMENTS, rng)[0])
        better = float((shown[:, None] > self._returns[None, :]).mean())
        return {
            "comparison": compared,
            "comparison with a reason": compared + self._bits_of_reasons(),
            "strength": bits_of_strengths(self._differences, self.beta),
            "ranking": bits_of_rankings(self._returns[order], self.beta),
            "rating": bits_of_ratings(self._returns, self.beta, rng),
            "correction": bits_of_one_side(float(improved.mean())),
            "demonstration": bits_of_one_side(better) * self._scene.episode / self._scene.clip,
        }

    def _bits_of_reasons(self) -> float:
        """Entropy of the term that speaks most for the better segment, which is told without error."""
        apart = self._terms[self._pairs[:, 1]] - self._terms[self._pairs[:, 0]]
        for_better = apart * np.sign(self._differences)[:, None]
        shares = np.bincount(for_better.argmax(axis=1), minlength=apart.shape[1]) / len(apart)
        return float(_entropy(shares))

    def tell(self, way: str, dataset: PreferenceDataset, count: int, rng: np.random.Generator) -> None:
        """Add so many answers to a dataset; demonstrations are whole ones, as many as that."""
        if way == "correction":
            originals = [self._segments[row] for row in rng.integers(0, SEGMENTS, count)]
            for before, after in zip(originals, self._scene.corrected(originals), strict=True):
                dataset.add(before, after, 1.0)
        elif way == "demonstration":
            for _ in range(count):
                shown, _ = self._expert.cut(_PER_DEMONSTRATION, rng)
                for segment, row in zip(shown, rng.integers(0, SEGMENTS, _PER_DEMONSTRATION), strict=True):
                    dataset.add(self._segments[row], segment, 1.0)
        else:
            name = "comparison" if way == "comparison with a reason" else way
            kind = KINDS.named(name)
            for number in range(count):
                rows = rng.permutation(SEGMENTS)[: kind.segments]
                segments = tuple(self._segments[row] for row in rows)
                query = Query(f"{name}/{number}/{rng.integers(2**31)}", 0, segments, name, context=self._contexts[name])
                choice, payload = kind.scripted_answer(self._judgement, query)
                label = None if choice is Choice.SKIP else kind.label(choice, payload, len(segments), len(segments[0]))
                if label is not None:
                    dataset.add_label(name, segments, label)


@dataclass(frozen=True)
class Kinds:
    """Compare kinds of feedback at equal seconds of a person: bits, and what fits and policies learn from them.

    Attributes:
        env: environments of the suite that have a scripted expert.
        seconds: budgets of a person's time.
        seeds: how many fits of each kind, each to other answers.
        first_seed: of these.
        potential: whether a fit may choose a potential besides or alone, for which it takes at most twice as long.
        timesteps: steps of policies that are trained by each kind besides, with the answers of the largest budget; none
            are trained where 0. Corrections, reasons and demonstrations take a person.
        policy_seeds: how many policies of each kind.
    """

    name: ClassVar[str] = "kinds"
    env: tuple[str, ...] = ENVIRONMENTS
    seconds: tuple[int, ...] = (75, 150, 300)
    seeds: int = 4
    first_seed: int = 0
    potential: bool = False
    timesteps: int = 0
    policy_seeds: int = 2

    def __post_init__(self) -> None:
        require_positive(self, "seeds", "policy_seeds")
        if not self.seconds or min(self.seconds) < 1:
            raise ValueError(f"seconds must be budgets of at least 1, not {self.seconds}.")

    def measure(self, out: Path, log: Log) -> dict[str, Any]:
        """The figures of every fit, and the bits and seconds of every kind.

        Raises:
            ValueError: if an environment has no scripted expert.
        """
        torch.set_num_threads(1)
        rows: list[dict[str, Any]] = []
        for id in self.env:
            ref = with_expert(id)
            judged = Judged.in_environment(ref)
            for seed in range(self.first_seed, self.first_seed + self.seeds):
                scene, expert = Scene(ref, seed), Scene(ref, seed + 500, expert=True)
                person = Person(scene, expert, seed)
                bits = person.bits()
                for way in WAYS:
                    costs = seconds_of(way, scene.clip, scene.episode)
                    found = {}
                    for budget in self.seconds:
                        count = int(budget / costs)
                        ensemble = RewardEnsemble(*scene.spaces, EnsembleConfig(potential=self.potential), seed)
                        dataset = PreferenceDataset(ensemble.encoder)
                        if count:
                            person.tell(way, dataset, count, np.random.default_rng([seed, budget]))
                            fit(ensemble, dataset)
                        found[str(budget)] = judged.accuracy(ensemble) if count else None
                    one = {"env": id, "seed": seed, "way": way, "seconds": costs, "bits": bits[way]}
                    rows.append({**one, "accuracy": found})
                log(f"{id}, seed {seed}: done")
        return {"rows": rows, "runs": self._policies(out, log)}

    def _policies(self, out: Path, log: Log) -> list[dict[str, Any]]:
        runs = []
        for run in self.plan(out / RUNS_FOLDER) if self.timesteps else ():
            run.finish()
            runs.append(run_record(run, out))
            log(f"{run.path}: {runs[-1]['metrics']['true_return_mean']:.1f}")
        return runs

    def plan(self, folder: Path) -> Iterator[TrainingRun]:
        """The policies, each in a folder of its own."""
        for id in self.env:
            ref = EnvironmentRef(id)
            clip = FeedbackConfig().for_environment(ref).steps / (frame_rate(ref) or 10.0)
            for seed in range(self.first_seed, self.first_seed + self.policy_seeds):
                for name in KINDS:
                    answers = int(max(self.seconds) / seconds_of(name, clip, 0.0))
                    changes = {} if name == Comparison.name else {"labels.kinds": {name: 1.0}}
                    config = configure(id, "learned", seed, self.timesteps, answers, changes=changes)
                    yield TrainingRun(config, folder_of(id, folder) / f"{name}-{answers}-{seed}", name)

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """A row for each kind of feedback: means over environments and seeds."""
        rows, table = measured["rows"], []
        budgets = list(rows[0]["accuracy"])
        for way in dict.fromkeys(row["way"] for row in rows):
            here = [row for row in rows if row["way"] == way]
            bits, seconds = (float(np.mean([row[name] for row in here])) for name in ("bits", "seconds"))
            cells = {
                "kind": way,
                "seconds": f"{seconds:.1f}",
                "bits": f"{bits:.2f}",
                "bits per second": f"{bits / seconds:.2f}",
            }
            for budget in budgets:
                found = [row["accuracy"][budget] for row in here if row["accuracy"][budget] is not None]
                cells[f"accuracy, {budget} s"] = share(found) if len(found) == len(here) else NOTHING
            if measured["runs"]:
                for id in dict.fromkeys(run["env"] for run in measured["runs"]):
                    ends = [
                        run["metrics"]["true_return_mean"]
                        for run in measured["runs"]
                        if (run["env"], run["change"]) == (id, way)
                    ]
                    title = f"true return of `{id.rpartition('/')[2]}`, {budgets[-1]} s"
                    cells[title] = ", ".join(f"{end:.0f}" for end in ends) or NOTHING
            table.append(cells)
        return markdown_table(table)
