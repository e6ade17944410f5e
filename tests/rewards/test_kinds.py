"""Rankings, ratings and reliability: what they teach, alone and together."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from rlhf_envs.kinds import KINDS, FeedbackKind, Label, LabelBatch, Ranking, Rating, rating_payload
from rlhf_envs.objectives import BradleyTerry
from rlhf_envs.rewards import PreferenceDataset, Reliability, RewardEnsemble, fit
from rlhf_envs.segments import Segment
from tests.rewards.learning import (
    add_comparisons,
    add_rankings,
    add_rating,
    add_ratings,
    agreement,
    new_ensemble,
    parameters_of,
    pendulum_segments,
    returns_of,
)


def fitted(
    fill: Callable[[PreferenceDataset], None], *kinds: FeedbackKind, seed: int = 0
) -> tuple[RewardEnsemble, float, float]:
    """An ensemble that was fitted to a dataset, in which these kinds have settings of their own."""
    ensemble, dataset = new_ensemble(seed, *kinds)
    fill(dataset)
    report = fit(ensemble, dataset)
    return ensemble, report.held_out_accuracy, report.held_out_loss


def test_rankings_alone_teach_the_reward_and_more_than_as_many_comparisons() -> None:
    ranked, accuracy, loss = fitted(lambda dataset: add_rankings(dataset, 30, seed=0))
    compared, _, _ = fitted(lambda dataset: add_comparisons(dataset, 30, seed=0))
    assert agreement(ranked) > 0.9
    assert agreement(ranked) > agreement(compared)
    assert accuracy > 0.85
    assert loss < np.log(24)


def test_ratings_alone_teach_the_reward_on_the_scale_of_the_ratings() -> None:
    ensemble, accuracy, loss = fitted(lambda dataset: add_ratings(dataset, 30, seed=0))
    assert agreement(ensemble) > 0.95
    assert accuracy > 0.75
    assert loss < 25 * 0.3**2 * 1.3
    segments = pendulum_segments(50, seed=5)
    predicted = returns_of(ensemble, segments).mean(axis=0)
    truth = [float(((segment.true_rewards + 4) / 6).clip(-1, 1).sum()) for segment in segments]
    assert np.abs(predicted - truth).mean() < 3


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_few_ratings_help_comparisons_and_comparisons_do_not_harm_ratings(seed: int) -> None:
    def mixed(dataset: PreferenceDataset) -> None:
        add_comparisons(dataset, 20, seed)
        add_ratings(dataset, 10, seed + 10)

    compared, _, _ = fitted(lambda dataset: add_comparisons(dataset, 20, seed), seed=seed)
    rated, _, _ = fitted(lambda dataset: add_ratings(dataset, 10, seed + 10), seed=seed)
    both, _, _ = fitted(mixed, seed=seed)
    assert agreement(both) > agreement(compared)
    assert agreement(both) > agreement(rated) - 0.03


def test_all_three_kinds_are_learned_together_and_twice_the_same() -> None:
    def all_kinds(dataset: PreferenceDataset) -> None:
        add_comparisons(dataset, 10, seed=0)
        add_rankings(dataset, 10, seed=1, size=3)
        add_rankings(dataset, 5, seed=2, size=5)
        add_ratings(dataset, 10, seed=3)

    first, second = fitted(all_kinds), fitted(all_kinds)
    assert agreement(first[0]) > 0.9
    assert first[1] > 0.75
    for one, other in zip(parameters_of(first[0]), parameters_of(second[0]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_rating_of_little_weight_hardly_counts_beside_comparisons() -> None:
    def contradicting(dataset: PreferenceDataset) -> None:
        add_comparisons(dataset, 60, seed=0)
        for segment in pendulum_segments(20, seed=1):
            add_rating(dataset, segment, (-(segment.true_rewards + 4) / 6).clip(-1, 1))

    assert agreement(fitted(contradicting)[0]) < 0.5
    assert agreement(fitted(contradicting, Rating(weight=1e-4))[0]) > 0.65


def test_a_gamma_below_one_learns_from_the_first_steps_of_a_rating() -> None:
    def late_steps_lie(dataset: PreferenceDataset) -> None:
        for segment in pendulum_segments(40, seed=1):
            ratings = ((segment.true_rewards + 4) / 6).clip(-1, 1)
            ratings[5:] *= -1
            add_rating(dataset, segment, ratings)

    assert agreement(fitted(late_steps_lie)[0]) < 0
    assert agreement(fitted(late_steps_lie, Rating(gamma=0.4))[0]) > 0.8


def test_labels_of_one_kind_change_no_draw_for_another_and_come_in_any_order() -> None:
    def one_way(dataset: PreferenceDataset) -> None:
        add_comparisons(dataset, 8, seed=0)
        add_rankings(dataset, 8, seed=1)
        add_ratings(dataset, 8, seed=2)

    def other_way(dataset: PreferenceDataset) -> None:
        add_ratings(dataset, 8, seed=2)
        add_rankings(dataset, 8, seed=1)
        add_comparisons(dataset, 8, seed=0)

    np.testing.assert_allclose(fitted(one_way)[2], fitted(other_way)[2], rtol=0.02)


def liar_and_honest(dataset: PreferenceDataset) -> None:
    """Forty honest comparisons, and sixty of somebody who is mostly wrong."""
    segments = pendulum_segments(200, seed=0)
    for number, (left, right) in enumerate(zip(segments[:100], segments[100:], strict=True)):
        is_right = float(right.true_rewards.sum() > left.true_rewards.sum())
        honest = number % 5 < 2
        wrong = not honest and number % 5 > 2
        dataset.add(left, right, 1 - is_right if wrong else is_right, annotator="honest" if honest else "liar")


def test_knowing_who_errs_mends_what_their_answers_would_spoil() -> None:
    def trusting_only_the_honest(dataset: PreferenceDataset) -> None:
        liar_and_honest(dataset)
        dataset.set_reliability({"liar": Reliability(error_rate=2 / 3)})

    believing_all, believing_few = fitted(liar_and_honest)[0], fitted(trusting_only_the_honest)[0]
    assert agreement(believing_few) > 0.85
    assert agreement(believing_few) > agreement(believing_all) + 0.2


def test_a_coins_answers_teach_nothing() -> None:
    def fill(dataset: PreferenceDataset, answer: float) -> None:
        add_comparisons(dataset, 20, seed=0)
        for left, right in zip(pendulum_segments(9, seed=1), pendulum_segments(9, seed=2), strict=True):
            dataset.add(left, right, answer, annotator="coin")
        dataset.set_reliability({"coin": Reliability(error_rate=0.5)})

    one, other = fitted(lambda dataset: fill(dataset, 0.0))[0], fitted(lambda dataset: fill(dataset, 1.0))[0]
    for parameter, twin in zip(parameters_of(one), parameters_of(other), strict=True):
        np.testing.assert_array_equal(parameter, twin)


def test_a_default_reliability_is_the_same_as_none_bit_for_bit() -> None:
    def said(dataset: PreferenceDataset) -> None:
        add_comparisons(dataset, 20, seed=0)
        dataset.set_reliability({"": Reliability()})

    one, other = fitted(said)[0], fitted(lambda dataset: add_comparisons(dataset, 20, seed=0))[0]
    for parameter, twin in zip(parameters_of(one), parameters_of(other), strict=True):
        np.testing.assert_array_equal(parameter, twin)


def test_a_high_temperature_asks_for_larger_differences_of_the_reward() -> None:
    def fill(dataset: PreferenceDataset, temperature: float) -> None:
        add_comparisons(dataset, 60, seed=0)
        dataset.set_reliability({"": Reliability(temperature=temperature)})

    segments = pendulum_segments(50, seed=7)
    spreads = []
    for temperature in (1.0, 4.0):
        ensemble = fitted(lambda dataset, t=temperature: fill(dataset, t))[0]  # type: ignore[misc]
        spreads.append(returns_of(ensemble, segments).std(axis=1).mean())
    assert spreads[1] > 1.5 * spreads[0]


def test_the_dataset_tells_who_said_what() -> None:
    _, dataset = new_ensemble()
    segments = pendulum_segments(5, seed=0)
    dataset.add(segments[0], segments[1], 1.0, annotator="ann")
    dataset.add_label("ranking", segments[:3], Label((2, 0, 1)), weight=0.5, annotator="bob")
    dataset.add_label("rating", segments[2:3], Label((0,), (0.0,) * 25), annotator="ann")
    dataset.add(segments[3], segments[4], 0.0, annotator="bob")
    dataset.set_reliability({"bob": Reliability(2.0, 0.25)})
    assert (len(dataset), dataset.annotators, len(dataset.steps)) == (4, ["ann", "bob"], 5)
    comparisons = dataset.labels("comparison")
    assert comparisons.annotators.tolist() == [0, 1]
    assert comparisons.temperatures.tolist() == [1.0, 2.0]
    assert comparisons.error_rates.tolist() == [0.0, 0.25]
    assert comparisons.targets.tolist() == [[1.0], [0.0]]
    rankings, ratings = dataset.labels("ranking"), dataset.labels("rating")
    assert (rankings.rows.tolist(), rankings.weights.tolist()) == ([[2, 0, 1, -1, -1]], [0.5])
    assert (ratings.rows.tolist(), ratings.targets.shape) == ([[2]], (1, 25))
    assert dataset.counts == {"comparison": 2, "ranking": 1, "rating": 1}


def test_the_error_of_a_rating_is_discounted_step_by_step() -> None:
    rewards = torch.tensor([[[0.0, 0.0, 0.0]], [[1.0, 1.0, 1.0]]])
    certain = torch.ones(1)
    labels = LabelBatch(torch.ones(1, 1, dtype=torch.bool), torch.tensor([[1.0, 0.5, -1.0]]), certain, certain)
    halved = Rating(gamma=0.5).loss(rewards, labels, BradleyTerry())
    torch.testing.assert_close(halved, torch.tensor([[1 + 0.125 + 0.25], [0.125 + 1.0]]))
    torch.testing.assert_close(Rating().loss(rewards, labels, BradleyTerry()), torch.tensor([[2.25], [4.25]]))


def test_what_is_no_label_kind_or_reliability_is_refused_in_one_sentence() -> None:
    _, dataset = new_ensemble()
    segments = pendulum_segments(6, seed=0)
    first = segments[0]
    short = Segment(first.observations[:5], first.actions[:5], first.true_rewards[:5])  # type: ignore[index]
    for shown in (segments[:1], segments):
        with pytest.raises(ValueError, match="A ranking is about 2 to 5 segments, not"):
            dataset.add_label("ranking", shown, Label(tuple(range(len(shown)))))
    for order in ((), (0, 2), (0, 0), (-1, 0)):
        with pytest.raises(ValueError, match="names positions of 2 segments, each at most once, not"):
            dataset.add_label("ranking", segments[:2], Label(order))
    for ratings in (np.zeros(24), np.full(25, 1.1), np.full(25, np.nan), []):
        with pytest.raises(ValueError, match=r"a rating of a segment of 25 steps is .* with 25 numbers from -1 to 1"):
            KINDS["rating"].label(None, rating_payload(ratings), 1, 25)
    with pytest.raises(ValueError, match="target of a rating is 25 finite numbers"):
        add_rating(dataset, first, np.full(25, np.nan))
    with pytest.raises(ValueError, match="weight"):
        dataset.add_label("rating", [first], Label((0,), (0.0,) * 25), weight=-1)
    with pytest.raises(ValueError, match="one length, here 25"):
        dataset.add_label("ranking", [first, short], Label((0, 1)))
    with pytest.raises(ValueError, match="no kind of feedback 'raking', only comparison, ranking, rating, strength"):
        dataset.add_label("raking", segments[:2], Label((0, 1)))
    assert len(dataset) == 0
    add_rating(dataset, first, np.zeros(25))
    with pytest.raises(ValueError, match="target of a rating is 25 finite numbers, as of those before it"):
        add_rating(dataset, first, np.zeros(1))
    with pytest.raises(ValueError, match="error rate must lie between 0 and 1"):
        Reliability(error_rate=1.5)
    with pytest.raises(ValueError, match="temperature must be positive"):
        Reliability(temperature=0)
    with pytest.raises(ValueError, match="gamma must be above 0"):
        Rating(gamma=0)
    with pytest.raises(ValueError, match="shows 2 to 5 segments, not 6"):
        Ranking(size=6)
    for weight in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="weight of the kind 'rating' must be positive and finite"):
            new_ensemble(0, replace(Rating(), weight=weight))
