"""Kinds of feedback and settings of fits, compared on simulated answers: what is counted, and that the commands run."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from rlhf_envs.environment import EnvironmentRef
from scripts import benchmark
from scripts.benchmarks.fits import ERRORS, Scene, comparisons, implied_order, returns_of
from scripts.benchmarks.kinds import (
    AGREEMENT,
    WAYS,
    Person,
    bits_of_comparisons,
    bits_of_one_side,
    bits_of_rankings,
    bits_of_ratings,
    bits_of_strengths,
    boltzmann_beta,
    seconds_of,
)

HEADSET = EnvironmentRef("rlhf/Headset-v1")
RNG = np.random.default_rng(0)
RETURNS = RNG.normal(0, 3, 4000)
DIFFERENCES = RETURNS[::2] - RETURNS[1::2]


def test_answers_without_error_tell_as_much_as_they_can() -> None:
    assert bits_of_comparisons(DIFFERENCES, 1e6) == pytest.approx(1, abs=0.01)
    assert bits_of_rankings(RETURNS.reshape(-1, 4), 1e6) == pytest.approx(math.log2(24), abs=0.05)
    # Half of the differences are clear, by the definition of clear.
    assert bits_of_strengths(DIFFERENCES, 1e6) == pytest.approx(2, abs=0.01)
    assert bits_of_one_side(1.0) == 1 and bits_of_one_side(0.5) == pytest.approx(0)


def test_answers_at_random_tell_nothing() -> None:
    beta = 1e-6
    told = [
        bits_of_comparisons(DIFFERENCES, beta),
        bits_of_strengths(DIFFERENCES, beta),
        bits_of_rankings(RETURNS.reshape(-1, 4), beta),
    ]
    assert told == pytest.approx([0, 0, 0], abs=1e-6)
    assert bits_of_ratings(RETURNS, 1e-3, np.random.default_rng(0)) < 0.05


def test_a_ranking_of_two_tells_what_a_comparison_does() -> None:
    beta = boltzmann_beta(DIFFERENCES)
    pairs = RETURNS.reshape(-1, 2)
    assert bits_of_rankings(pairs, beta) == pytest.approx(bits_of_comparisons(DIFFERENCES, beta), abs=1e-9)
    assert bits_of_strengths(DIFFERENCES, beta) > bits_of_comparisons(DIFFERENCES, beta)


def test_the_simulated_person_agrees_as_often_as_is_said() -> None:
    beta = boltzmann_beta(DIFFERENCES)
    assert expit(beta * np.abs(DIFFERENCES)).mean() == pytest.approx(AGREEMENT, abs=1e-3)
    # Ties are answered by a coin, so that nobody agrees in more than is possible.
    assert math.isfinite(boltzmann_beta(np.concatenate([DIFFERENCES, np.zeros(2000)])))


def test_what_is_known_of_two_answers_is_implied_and_nothing_else() -> None:
    assert implied_order([(1, 2), (2, 3), (3, 4)]) == [(1, 3), (1, 4), (2, 4)]
    assert implied_order([(1, 2), (3, 4)]) == []
    assert implied_order([(1, 2), (2, 3), (3, 1)]) == []
    assert implied_order([(1, 2), (2, 3), (1, 3)]) == []


def test_longer_clips_and_more_keys_take_longer() -> None:
    taken = {way: seconds_of(way, 1.5, 20.0) for way in WAYS}
    assert taken["comparison"] == pytest.approx(3.05)
    assert taken["comparison"] < taken["strength"] < taken["rating"] < taken["ranking"] < taken["demonstration"]
    assert all(seconds_of(way, 3.0, 20.0) > taken[way] for way in WAYS if way != "demonstration")


def test_a_correction_is_the_segment_until_the_expert_takes_over_and_better_after_that() -> None:
    scene = Scene(HEADSET, 0)
    segments, terms = scene.cut(40, np.random.default_rng(0))
    assert np.allclose(terms.sum(axis=1), returns_of(segments), atol=1e-3)
    corrected = scene.corrected(segments)
    begun = scene.length // 3
    for before, after in zip(segments, corrected, strict=True):
        assert len(after) == scene.length
        assert np.array_equal(np.asarray(before.observations)[: begun + 1], np.asarray(after.observations)[: begun + 1])
        assert np.array_equal(before.true_rewards[:begun], after.true_rewards[:begun])
    assert (returns_of(corrected) >= returns_of(segments)).mean() > 0.8


def test_a_person_tells_by_each_kind_what_an_ensemble_can_be_fitted_to() -> None:
    from rlhf_envs.rewards import EnsembleConfig, PreferenceDataset, RewardEnsemble

    scene = Scene(HEADSET, 0)
    person = Person(scene, Scene(HEADSET, 500, expert=True), 0)
    encoder = RewardEnsemble(*scene.spaces, EnsembleConfig(members=1, hidden=(4,)), 0).encoder
    labels = {}
    for way in WAYS:
        dataset = PreferenceDataset(encoder)
        person.tell(way, dataset, 2, np.random.default_rng(0))
        labels[way] = len(dataset)
    assert labels == {way: 200 if way == "demonstration" else 2 for way in WAYS}
    bits = person.bits()
    assert list(bits) == list(WAYS) and min(bits.values()) > 0


def run(out: Path, *words: str) -> dict[str, object]:
    assert benchmark.main([*words, "--out", str(out)]) == 0
    found: dict[str, object] = json.loads((out / "results.json").read_text())
    return found


def test_kinds_are_compared_at_equal_seconds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["kinds", "--env", HEADSET.id, "--seconds", "20", "--seeds", "1"]
    rows = run(tmp_path, *words)["kinds"]["rows"]  # type: ignore[index]
    assert [row["way"] for row in rows] == list(WAYS)
    # A demonstration takes longer than that.
    assert rows[-1]["accuracy"]["20"] is None and 0.4 < rows[0]["accuracy"]["20"] <= 1
    table = capsys.readouterr().out
    assert "| kind | seconds | bits | bits per second | accuracy, 20 s |" in table and "| demonstration |" in table


def test_settings_of_fits_are_compared_on_right_and_wrong_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fits", "--env", HEADSET.id, "--answers", "12", "--seeds", "1", "--errors", "none", "by likeness"]
    words += ["--ingredients", "dynamics 1", "implied order", "pseudo-labels 0.95"]
    rows = run(tmp_path, *words)["fits"]["rows"]  # type: ignore[index]
    assert [row["errors"] for row in rows] == ["none"] * 4 + ["by likeness"] * 4
    table = capsys.readouterr().out
    assert "| changed | 12 answers | 12 answers, by likeness |" in table and "| dynamics 1 |" in table


@pytest.mark.parametrize("error", ERRORS)
def test_as_many_answers_are_wrong_as_is_said(error: str) -> None:
    segments, _ = Scene(HEADSET, 0).cut(300, np.random.default_rng(0))
    returns = returns_of(segments)
    answers = list(comparisons(segments, 2000, error, np.random.default_rng(1)))
    wrong = np.mean([says_right != (returns[right] > returns[left]) for left, right, says_right in answers])
    expected = {"none": 0.0, "30% at random": 0.3, "by likeness": 0.2, "30% always left": 0.15}[error]
    assert wrong == pytest.approx(expected, abs=0.05)
    asked = [place for left, right, _ in answers for place in (left, right)]
    assert len(set(asked)) < len(asked)


@pytest.mark.parametrize(
    "words, said",
    [
        (["kinds", "--env", "CartPole-v1"], "need a scripted expert, which CartPole-v1 does not have"),
        (["kinds", "--seconds", "0"], "seconds must be budgets of at least 1"),
        (["fits", "--ingredients", "magic"], "There is no 'magic'; choose from nothing,"),
        (["fits", "--errors", "rude"], "There is no 'rude'; choose from none,"),
        (["fits", "--answers", "0"], "answers must be budgets of at least 1"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        benchmark.main([*words, "--out", str(tmp_path)])
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())
