"""Objectives: probabilities and losses, on numbers that can be checked by hand."""

import math

import pytest
import torch
from torch import Tensor

from rlhf_envs.objectives import LEAST_ERROR, BradleyTerry

plackett_luce = BradleyTerry().ranking_loss


def random(*shape: int) -> Tensor:
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("error_rate", [LEAST_ERROR, 0.3, 0.5])
def test_a_ranking_of_two_is_a_comparison(error_rate: float) -> None:
    returns = random(3, 40, 2)
    present = torch.ones(40, 2, dtype=torch.bool)
    ranked = plackett_luce(returns, present, torch.full((40,), error_rate))
    compared = BradleyTerry().comparison_loss(returns[:, :, 0] - returns[:, :, 1], torch.ones(40), error_rate)
    torch.testing.assert_close(ranked, compared, rtol=1e-5, atol=1e-6)


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


def test_absent_places_change_neither_loss_nor_gradient() -> None:
    short, long = random(2, 6, 3).requires_grad_(), random(2, 6, 3).requires_grad_()
    padded = torch.cat([long, torch.full((2, 6, 2), 50.0)], dim=2)
    present = torch.tensor([[True, True, True, False, False]]).expand(6, 5)
    for returns, seen in ((short, present[:, :3]), (padded, present)):
        plackett_luce(returns, seen, torch.full((6,), LEAST_ERROR)).sum().backward()
    torch.testing.assert_close(
        plackett_luce(short, present[:, :3]), plackett_luce(padded, present), rtol=1e-6, atol=1e-6
    )
    assert short.grad is not None
    torch.testing.assert_close(short.grad, long.grad, rtol=1e-5, atol=1e-6)


def test_a_hopeless_order_has_a_finite_loss_and_gradient() -> None:
    returns = torch.tensor([[[-500.0, 0.0, 500.0]]], requires_grad=True)
    loss = plackett_luce(returns, torch.ones(1, 3, dtype=torch.bool))
    loss.sum().backward()
    assert math.isfinite(loss.item())
    assert returns.grad is not None and bool(returns.grad.isfinite().all())


def test_a_person_who_errs_is_never_predicted_with_more_certainty_than_that() -> None:
    log_odds = torch.tensor([-100.0, 0.0, 100.0])
    torch.testing.assert_close(BradleyTerry().probability(log_odds, 0.3), torch.tensor([0.3, 0.5, 0.7]))
    torch.testing.assert_close(BradleyTerry().probability(log_odds), torch.tensor([0.05, 0.5, 0.95]))
