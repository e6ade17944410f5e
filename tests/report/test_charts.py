"""Charts are read by people: nothing lies over the curves, and figures side by side are as precise as each other."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

from rlhf_envs.evaluation.reward_model import RewardAgreement
from rlhf_envs.report import charts
from rlhf_envs.report.charts import decimals, rounded
from rlhf_envs.rewards.metrics import Correlation


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Figure]:
    """The figure that was drawn last."""
    figures: list[Figure] = []
    to_svg = charts.to_svg

    def remember(figure: Figure, name: str, description: str) -> str:
        figures.append(figure)
        return to_svg(figure, name, description)

    monkeypatch.setattr(charts, "to_svg", remember)
    return lambda: figures[-1]


def assert_legend_is_beside_the_plots(figure: Figure) -> None:
    (legend,) = figure.legends
    covered = legend.get_window_extent()
    for axes in figure.axes:
        assert axes.get_legend() is None
        assert not covered.overlaps(axes.get_window_extent())
    assert covered.x0 >= 0 and covered.x1 <= figure.bbox.width


@pytest.mark.parametrize("lowest", [0.0, 0.2, 0.7])
def test_the_accuracy_curve_stays_within_its_axis_and_clear_of_the_legend(
    drawn: Callable[[], Figure], lowest: float
) -> None:
    rows = [
        {"labels": str(10 * (n + 1)), "test_accuracy": str(accuracy), "held_out_accuracy": "0.5"}
        for n, accuracy in enumerate((lowest, 1.0, lowest))
    ]
    charts.accuracy_curve(rows)
    low, high = drawn().axes[0].get_ylim()
    assert low < min(lowest, 0.5) and high > 1.0
    assert low <= 0.4
    assert_legend_is_beside_the_plots(drawn())


def test_without_any_accuracy_there_is_no_legend(drawn: Callable[[], Figure]) -> None:
    charts.accuracy_curve([{"labels": "0"}])
    assert drawn().legends == []


def test_no_dot_of_the_agreement_is_hidden_by_the_legend(drawn: Callable[[], Figure]) -> None:
    reward, known = np.linspace(-1, 1, 50), Correlation(1.0, 1.0)
    one = RewardAgreement(reward, reward, reward, reward, known, known)
    charts.agreement({"policy": one, "mixture": one})
    assert_legend_is_beside_the_plots(drawn())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([144.0, 129.2, 25.74, -7.249], ["144", "129", "26", "-7"]),
        ([-56.92, 25.8, -0.01], ["-56.9", "25.8", "0.0"]),
        ([0.8712, -0.0004, 0.0], ["0.871", "0.000", "0.000"]),
        ([99.96, 3.0], ["100", "3"]),
        ([12345.6, 7.0], ["12,346", "7"]),
        ([0.0, 0.0], ["0", "0"]),
        ([None, math.nan, 2.0], ["–", "–", "2.00"]),
    ],
)
def test_the_largest_figure_has_three_digits_and_the_others_as_many_decimals(
    values: list[float | None], expected: list[str]
) -> None:
    assert [rounded(value, decimals(values)) for value in values] == expected


@pytest.mark.parametrize("learned", ["", "2.5"])
def test_returns_are_drawn_over_the_root_of_the_divergence(drawn: Callable[[], Figure], learned: str) -> None:
    rows = [
        {
            "timesteps": str(n),
            "true_return_mean": str(n),
            "learned_return_mean": learned,
            "kl": str(n**2),
            "kl_coef": "0.1",
        }
        for n in range(4)
    ]
    charts.over_kl(rows)
    (line,) = drawn().axes[0].lines
    np.testing.assert_allclose(line.get_xydata(), [[n, n] for n in range(4)])
    assert [len(axes.lines) for axes in drawn().axes] == [1, 1, bool(learned)]
