"""Objectives: probabilities and losses, on numbers that can be checked by hand."""

import math

import pytest
import torch
from torch import Tensor

from rlhf_envs.objectives import LEAST_ERROR, OBJECTIVES, BradleyTerry, Objective, Probit

plackett_luce = BradleyTerry().ranking_loss


def random(*shape: int) -> Tensor:
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


class Cauchit(Objective):
    """One of a user's own, which says nothing but what it must."""

    def choice_probability(self, difference: Tensor) -> Tensor:
        return 0.5 + torch.atan(difference) / math.pi


OBJECTIVES_AND_OWN = {**OBJECTIVES, "own": Cauchit()}


@pytest.mark.parametrize("name", OBJECTIVES_AND_OWN)
@pytest.mark.parametrize("error_rate", [LEAST_ERROR, 0.3, 0.5])
def test_a_ranking_of_two_is_a_comparison(name: str, error_rate: float) -> None:
    objective = OBJECTIVES_AND_OWN[name]
    returns = random(3, 40, 2)
    present = torch.ones(40, 2, dtype=torch.bool)
    compared = objective.comparison_loss(returns[:, :, 0] - returns[:, :, 1], torch.ones(40), error_rate)
    for error in (error_rate, torch.full((40,), error_rate)):
        ranked = objective.ranking_loss(returns, present, error)
        torch.testing.assert_close(ranked, compared, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES_AND_OWN)
def test_a_larger_difference_is_chosen_more_often_and_none_is_a_coin(name: str) -> None:
    objective = OBJECTIVES_AND_OWN[name]
    difference = torch.arange(-80, 81, dtype=torch.float64) / 20
    probability = objective.choice_probability(difference)
    assert bool((probability.diff() > 0).all())
    assert float(probability[80]) == 0.5
    torch.testing.assert_close(probability, 1 - probability.flip(0))


def test_probit_is_the_normal_law_of_two_errors_of_unit_variance() -> None:
    # Thurstone's case V: the difference of two such errors has variance 2.
    differences = torch.tensor([-3.0, -0.5, 0.0, 1.0, 2.0], dtype=torch.float64)
    expected = torch.tensor([0.5 * (1 + math.erf(value / 2)) for value in differences.tolist()], dtype=torch.float64)
    torch.testing.assert_close(Probit().choice_probability(differences), expected)


@pytest.mark.parametrize("name", OBJECTIVES_AND_OWN)
def test_losses_and_gradients_are_finite_however_hopeless_an_answer(name: str) -> None:
    objective = OBJECTIVES_AND_OWN[name]
    differences = torch.tensor([[-500.0, 500.0, 0.0, -500.0]], requires_grad=True)
    compared = objective.comparison_loss(differences, torch.tensor([1.0, 0.0, 0.5, 0.5]))
    returns = torch.tensor([[[-500.0, 0.0, 500.0]]], requires_grad=True)
    ranked = objective.ranking_loss(returns, torch.ones(1, 3, dtype=torch.bool))
    (compared.sum() + ranked.sum()).backward()
    for values in (compared, ranked, differences.grad, returns.grad):
        assert values is not None and bool(values.isfinite().all())


def test_without_a_law_of_its_own_a_ranking_is_all_of_its_comparisons_averaged() -> None:
    returns = random(2, 5, 4)
    present = torch.ones(5, 4, dtype=torch.bool)
    present[3:, 3] = False
    objective = Probit()
    for label, places in enumerate((4, 4, 4, 3, 3)):
        pairs = [(one, other) for one in range(places) for other in range(one + 1, places)]
        better, worse = (returns[:, label, list(side)] for side in zip(*pairs, strict=True))
        expected = objective.comparison_loss(better - worse, torch.ones(len(pairs))).mean(dim=1) * (places - 1)
        torch.testing.assert_close(objective.ranking_loss(returns, present)[:, label], expected)


def test_without_noise_plackett_luce_sums_logsumexp_of_those_left_less_the_return_of_each() -> None:
    returns = random(2, 7, 5)
    places = range(5)
    expected = sum(returns[:, :, place:].logsumexp(dim=2) - returns[:, :, place] for place in places)
    found = plackett_luce(returns, torch.ones(7, 5, dtype=torch.bool), torch.zeros(7))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("error_rate", [0.0, 0.05, 0.5])
def test_the_probabilities_of_all_orders_sum_to_one(error_rate: float) -> None:
    returns = random(1, 1, 4)
    orders = torch.tensor(
        [order for order in torch.cartesian_prod(*[torch.arange(4)] * 4).tolist() if len({*order}) == 4]
    )
    losses = plackett_luce(returns[:, 0, orders], torch.ones(24, 4, dtype=torch.bool), torch.full((24,), error_rate))
    assert float((-losses).exp().sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES_AND_OWN)
def test_absent_places_change_neither_loss_nor_gradient(name: str) -> None:
    ranking_loss = OBJECTIVES_AND_OWN[name].ranking_loss
    short, long = random(2, 6, 3).requires_grad_(), random(2, 6, 3).requires_grad_()
    padded = torch.cat([long, torch.full((2, 6, 2), 50.0)], dim=2)
    present = torch.tensor([[True, True, True, False, False]]).expand(6, 5)
    for returns, seen in ((short, present[:, :3]), (padded, present)):
        ranking_loss(returns, seen, torch.full((6,), LEAST_ERROR)).sum().backward()
    torch.testing.assert_close(ranking_loss(short, present[:, :3]), ranking_loss(padded, present), rtol=1e-6, atol=1e-6)
    assert short.grad is not None
    torch.testing.assert_close(short.grad, long.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES_AND_OWN)
def test_a_person_who_errs_is_never_predicted_with_more_certainty_than_that(name: str) -> None:
    differences = torch.tensor([-1e6, 0.0, 1e6])
    torch.testing.assert_close(OBJECTIVES_AND_OWN[name].probability(differences, 0.3), torch.tensor([0.3, 0.5, 0.7]))
    torch.testing.assert_close(OBJECTIVES_AND_OWN[name].probability(differences), torch.tensor([0.05, 0.5, 0.95]))
