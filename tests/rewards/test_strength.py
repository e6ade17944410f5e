"""The strength of a preference: what is an answer, what teachers say, its likelihood, and what it teaches."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from rlhf_envs.kinds import KINDS, Judgement, Label, LabelBatch, Strength, TeacherConfig, strength_payload
from rlhf_envs.objectives import OBJECTIVES
from rlhf_envs.queries import Choice, Query
from rlhf_envs.rewards import PreferenceDataset, RewardEnsemble, fit
from rlhf_envs.segments import Segment
from tests.rewards.learning import STEPS, add_comparisons, new_ensemble, pendulum_segments

STRENGTH = KINDS["strength"]
SLIGHTLY, CLEARLY = strength_payload("slightly"), strength_payload("clearly")
TIMES = 4000


def paid(*rewards: float) -> Segment:
    numbers = np.array(rewards, np.float32)
    return Segment(numbers[:, None], numbers[:, None], numbers)


def query(difference: float, clear: float | None = 1.0, key: str = "0/train/strength/0") -> Query:
    context = {} if clear is None else {"clear_difference": clear}
    return Query(key, 0, (paid(0.0, 0.0), paid(difference, 0.0)), "strength", context=context)


def said(config: TeacherConfig, asked: Query) -> tuple[Choice | None, str | None]:
    choice, payload = STRENGTH.scripted_answer(Judgement(config), asked)
    return choice, None if payload is None else payload["strength"]


def shares(config: TeacherConfig, asked: Query) -> dict[tuple[Choice | None, str | None], float]:
    drawn = Counter(said(config, replace(asked, key=str(number))) for number in range(TIMES))
    return {answer: count / TIMES for answer, count in drawn.items()}


def test_a_label_holds_the_side_and_whether_it_is_clear() -> None:
    for choice, payload, target in (
        (Choice.LEFT, SLIGHTLY, (0.0, 0.0)),
        (Choice.LEFT, CLEARLY, (0.0, 1.0)),
        (Choice.RIGHT, SLIGHTLY | {"replays": 3}, (1.0, 0.0)),
        (Choice.RIGHT, CLEARLY, (1.0, 1.0)),
        (Choice.TIE, None, (0.5, 0.0)),
    ):
        assert STRENGTH.label(choice, payload, 2, 5) == Label((0, 1), target)
        assert STRENGTH.implied_comparisons(choice, payload, 2) == [(0, 1, target[0])]
    assert STRENGTH.implied_comparisons(Choice.SKIP, None, 2) == []


@pytest.mark.parametrize(
    "payload", [None, {}, {"strength": "very"}, {"strength": 1}, {"strength": None}, {"clearly": 1}]
)
def test_a_side_without_a_strength_is_no_answer(payload: Any) -> None:
    with pytest.raises(ValueError, match=r"left or right with \{'strength': 'slightly'\} or \{'strength': 'clearly'\}"):
        STRENGTH.label(Choice.LEFT, payload, 2, 5)


def test_a_strength_without_a_side_is_no_answer() -> None:
    with pytest.raises(ValueError, match="a strength is answered with left, right or tie"):
        STRENGTH.label(None, CLEARLY, 2, 5)


def test_the_oracle_is_clear_beyond_the_difference_that_the_context_gives() -> None:
    oracle = TeacherConfig()
    assert said(oracle, query(0.9)) == (Choice.RIGHT, "slightly")
    assert said(oracle, query(1.0)) == (Choice.RIGHT, "slightly")
    assert said(oracle, query(1.1)) == (Choice.RIGHT, "clearly")
    assert said(oracle, query(-0.9)) == (Choice.LEFT, "slightly")
    assert said(oracle, query(-1.1)) == (Choice.LEFT, "clearly")
    assert said(oracle, query(0.0)) == (Choice.TIE, None)
    with pytest.raises(ValueError, match="to give clear_difference"):
        said(oracle, query(1.0, clear=None))


def test_a_mistake_flips_the_side_and_not_the_strength() -> None:
    for difference, strength in ((3.0, "clearly"), (0.5, "slightly")):
        drawn = shares(TeacherConfig(mistake=0.2), query(difference))
        assert set(drawn) == {(Choice.RIGHT, strength), (Choice.LEFT, strength)}
        assert drawn[Choice.LEFT, strength] == pytest.approx(0.2, abs=0.025)


def test_a_boltzmann_teacher_answers_by_the_cumulative_link() -> None:
    beta, difference, clear = 1.5, 0.4, 1.0

    def sigmoid(advantage: float) -> float:
        return 1 / (1 + math.exp(-beta * advantage))

    drawn = shares(TeacherConfig(beta=beta), query(difference, clear))
    expected = {
        (Choice.RIGHT, "clearly"): sigmoid(difference - clear),
        (Choice.RIGHT, "slightly"): sigmoid(difference) - sigmoid(difference - clear),
        (Choice.LEFT, "slightly"): sigmoid(-difference) - sigmoid(-difference - clear),
        (Choice.LEFT, "clearly"): sigmoid(-difference - clear),
    }
    assert drawn == pytest.approx(expected, abs=0.03)


def test_the_context_calls_half_of_all_differences_clear() -> None:
    rewards = np.array([[0, 0], [1, 1], [2, 2], [1, 0], [0, 5], [2, 3]], np.float32)  # differences 1, 3 and 1
    assert STRENGTH.context(rewards) == {"clear_difference": 1.0}
    many = np.random.default_rng(0).normal(size=(400, 10)).astype(np.float32)
    returns = many.sum(axis=1)
    clear = np.abs(returns[:200] - returns[200:]) > STRENGTH.context(many)["clear_difference"]
    assert clear.mean() == 0.5


def likelihoods(differences: torch.Tensor, error_rate: float, objective: str, margin: float) -> torch.Tensor:
    """Of clearly left, slightly left, slightly right and clearly right, (4, differences)."""
    count = len(differences)
    found = []
    for target in ((0.0, 1.0), (0.0, 0.0), (1.0, 0.0), (1.0, 1.0)):
        labels = LabelBatch(
            torch.ones(count, 2, dtype=torch.bool),
            torch.tensor(target).expand(count, 2),
            torch.ones(count),
            torch.full((count,), error_rate),
        )
        loss = Strength(margin=margin).loss(differences[None], labels, OBJECTIVES[objective])
        assert loss.shape == (1, count) and bool(loss.isfinite().all())
        found.append((-loss[0]).exp())
    return torch.stack(found)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("error_rate", [0.05, 0.3, 0.5, 0.7, 0.95])
@pytest.mark.parametrize("margin", [0.1, 2.0, 8.0])
def test_the_likelihoods_of_the_four_answers_sum_to_one(objective: str, error_rate: float, margin: float) -> None:
    differences = torch.linspace(-40, 40, 81)
    found = likelihoods(differences, error_rate, objective, margin)
    assert bool((found > 0).all())
    torch.testing.assert_close(found.sum(dim=0), torch.ones(81))
    # A side, whatever its strength, is as likely as in a comparison; and what goes for left goes for right.
    right = OBJECTIVES[objective].probability(differences, error_rate)
    torch.testing.assert_close(found[2] + found[3], right, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found, found.flip((0, 1)), atol=1e-6, rtol=1e-5)


def test_a_clear_answer_pulls_beyond_the_margin_and_a_slight_one_holds_back() -> None:
    differences = torch.linspace(-10, 10, 201)
    clearly_left, slightly_left, slightly_right, clearly_right = likelihoods(differences, 0.05, "bradley_terry", 2.0)
    assert bool((clearly_right.diff() > 0).all()) and bool((clearly_left.diff() < 0).all())
    # The likeliest difference of a slight preference lies in the middle of what is slight.
    assert float(differences[slightly_right.argmax()]) == pytest.approx(1.0, abs=0.05)
    assert float(differences[slightly_left.argmax()]) == pytest.approx(-1.0, abs=0.05)


@pytest.mark.parametrize("margin", [0.0, -1.0, math.inf, math.nan])
def test_a_margin_without_sense_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="margin of a clear preference must be positive and finite"):
        Strength(margin=margin)


def add_strengths(dataset: PreferenceDataset, count: int, seed: int) -> None:
    """The answers of the oracle about the pairs of `add_comparisons`."""
    segments = pendulum_segments(2 * count, seed)
    context = STRENGTH.context(np.stack([segment.true_rewards for segment in segments]))
    oracle = Judgement(TeacherConfig())
    for left, right in zip(segments[:count], segments[count:], strict=True):
        choice, payload = STRENGTH.scripted_answer(oracle, Query("", 0, (left, right), "strength", context=context))
        label = STRENGTH.label(choice, payload, 2, STEPS)
        assert label is not None
        dataset.add_label("strength", [left, right], label)


def accuracy(ensemble: RewardEnsemble, pairs: Sequence[Segment]) -> float:
    left, right = pairs[::2], pairs[1::2]
    wanted = [after.true_rewards.sum() > before.true_rewards.sum() for before, after in zip(left, right, strict=True)]
    return float(((ensemble.probability_right(left, right) > 0.5) == wanted).mean())


def test_strengths_teach_more_than_as_many_comparisons_of_the_same_pairs() -> None:
    fresh = pendulum_segments(400, seed=1000)
    found = []
    for seed in range(6):
        both = []
        for add in (add_comparisons, add_strengths):
            ensemble, dataset = new_ensemble(seed)
            add(dataset, 30, seed)
            report = fit(ensemble, dataset)
            both.append(accuracy(ensemble, fresh))
        assert report.labels == 30 and report.held_out_accuracy > 0.6
        found.append(both)
    compared, graded = np.mean(found, axis=0)
    assert graded > compared + 0.02
