"""Predictions of answers by the members that were not trained on them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rlhf_envs.queries import DEMONSTRATOR, AccuracySource, Choice, LiveAnswer, Purpose
from rlhf_envs.rewards import (
    EnsembleConfig,
    FitConfig,
    PreferenceDataset,
    RewardEnsemble,
    fit,
    load,
    predict_out_of_fold,
    save,
)
from rlhf_envs.rewards.resampling import held_out_by
from rlhf_envs.segments import Segment
from tests.rewards.learning import ACTION_SPACE, OBSERVATION_SPACE, pendulum_segments

PAIRS = 60
SEGMENTS = dict(enumerate(pendulum_segments(2 * PAIRS, seed=0)))
ONE_CHECK = FitConfig(steps=5, epochs=1, warm_start_share=1.0, group_lasso=0, ridge=0)
"""A fit that looks at held-out labels once, at its end, and has no penalties to choose, so that they decide nothing."""


class Segments:
    def segments(self, ids: "tuple[int, ...]", /) -> list[Segment]:
        return [SEGMENTS[id] for id in ids]


def answer(pair: int, choice: Choice, annotator: str = "someone") -> LiveAnswer:
    return LiveAnswer(
        id=pair + 1,
        query_id=pair + 1,
        annotator=annotator,
        choice=choice,
        segment_ids=(2 * pair, 2 * pair + 1),
        round=0,
        kind="comparison",
        purpose=Purpose.TRAIN,
    )


def by_true_return(pair: int) -> Choice:
    left, right = (SEGMENTS[2 * pair + side].true_rewards.sum() for side in (0, 1))
    return Choice.RIGHT if right > left else Choice.LEFT


ANSWERS = [answer(pair, by_true_return(pair)) for pair in range(PAIRS)]
OPPOSITE = {Choice.LEFT: Choice.RIGHT, Choice.RIGHT: Choice.LEFT}


def new_ensemble(members: int = 3) -> RewardEnsemble:
    return RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE, EnsembleConfig(members, (32,)))


def dataset_of(ensemble: RewardEnsemble, answers: list[LiveAnswer]) -> PreferenceDataset:
    dataset = PreferenceDataset(ensemble.encoder)
    dataset.add_answers(answers, Segments())
    return dataset


def test_every_answer_is_predicted_by_the_one_member_that_was_not_trained_on_it() -> None:
    ensemble = new_ensemble()
    dataset = dataset_of(ensemble, ANSWERS)
    fit(ensemble, dataset)
    found = predict_out_of_fold(ensemble, dataset)
    assert found.source is AccuracySource.OUT_OF_FOLD
    assert list(found.answers) == ANSWERS and found.metrics.decided == PAIRS
    segments = [SEGMENTS[id] for id in range(2 * PAIRS)]
    returns = torch.from_numpy(
        ensemble.segment_returns(
            np.stack([segment.observations for segment in segments]),
            np.stack([segment.actions for segment in segments]),
        )
    )
    by_member = ensemble.objective.probability(returns[:, 1::2] - returns[:, ::2]).numpy()
    held_out = held_out_by(ensemble, dataset)["comparison"]
    assert (held_out.sum(axis=0) == 1).all() and (held_out.sum(axis=1) > 10).all()
    np.testing.assert_allclose(found.predicted, by_member.T[held_out.T], atol=1e-5)
    assert found.metrics.accuracy > 0.75


def test_what_a_member_holds_out_it_has_not_seen_in_any_fit_before_however_answers_come_and_go() -> None:
    changed = 7

    def predicted_after(answers: list[LiveAnswer]) -> float:
        ensemble = new_ensemble()
        for known in (answers[:20], answers[:40], answers[3:40], answers[3:]):
            dataset = dataset_of(ensemble, known)
            fit(ensemble, dataset, ONE_CHECK, fresh=False)
        found = predict_out_of_fold(ensemble, dataset)
        return float(found.predicted[[live.id for live in found.answers].index(changed + 1)])

    def reversed_at(pair: int) -> list[LiveAnswer]:
        other = replace(ANSWERS[pair], choice=OPPOSITE[by_true_return(pair)])
        return [*ANSWERS[:pair], other, *ANSWERS[pair + 1 :]]

    usual = predicted_after(ANSWERS)
    assert predicted_after(reversed_at(changed)) == usual
    assert any(predicted_after(reversed_at(pair)) != usual for pair in range(changed + 1, changed + 6))


def test_two_answers_about_the_same_segments_are_held_out_by_the_same_members() -> None:
    ensemble = new_ensemble()
    again = [
        replace(answer(pair, Choice.TIE, "another"), segment_ids=(2 * pair + 1, 2 * pair)) for pair in range(PAIRS)
    ]
    dataset = dataset_of(ensemble, [*ANSWERS, *again])
    fit(ensemble, dataset, ONE_CHECK)
    held_out = held_out_by(ensemble, dataset)["comparison"]
    np.testing.assert_array_equal(held_out[:, :PAIRS], held_out[:, PAIRS:])


def test_answers_at_random_are_predicted_no_better_than_by_chance() -> None:
    choices = np.random.default_rng(0).integers(0, 2, PAIRS)
    answers = [answer(pair, (Choice.LEFT, Choice.RIGHT)[choice]) for pair, choice in enumerate(choices)]
    ensemble = new_ensemble()
    dataset = dataset_of(ensemble, answers)
    report = fit(ensemble, dataset, FitConfig(steps=400, group_lasso=0, ridge=0))
    accuracy = predict_out_of_fold(ensemble, dataset).metrics.accuracy
    assert 0.3 < accuracy < 0.7
    assert report.train_loss < report.held_out_loss - 0.2  # they are learned by heart


def test_a_single_member_holds_out_a_fifth_and_is_judged_by_that() -> None:
    ensemble = new_ensemble(members=1)
    dataset = dataset_of(ensemble, ANSWERS)
    fit(ensemble, dataset)
    assert 5 <= predict_out_of_fold(ensemble, dataset).metrics.decided <= 20


def test_demonstrations_do_not_count_and_ties_and_skips_are_told_apart() -> None:
    ensemble = new_ensemble()
    extra = [answer(50, Choice.TIE), answer(51, Choice.SKIP), answer(52, Choice.LEFT, DEMONSTRATOR)]
    dataset = dataset_of(ensemble, [*ANSWERS[:50], *extra])
    fit(ensemble, dataset)
    found = predict_out_of_fold(ensemble, dataset)
    assert (found.metrics.decided, found.metrics.ties, found.metrics.skips) == (50, 1, 1)
    assert extra[2] not in found.answers


def test_a_member_that_had_to_learn_from_all_answers_predicts_none_of_them() -> None:
    ensemble = new_ensemble()
    dataset = dataset_of(ensemble, ANSWERS[:1])
    fit(ensemble, dataset)
    assert len(predict_out_of_fold(ensemble, dataset)) == 0
    more = dataset_of(ensemble, ANSWERS[:30])
    fit(ensemble, more, fresh=False)
    assert ensemble.labels_at_fresh_start == 30  # it has forgotten what it was trained on
    assert predict_out_of_fold(ensemble, more).metrics.decided == 30


def test_without_an_answer_there_is_no_prediction() -> None:
    ensemble = new_ensemble()
    found = predict_out_of_fold(ensemble, PreferenceDataset(ensemble.encoder))
    assert len(found) == 0 and np.isnan(found.metrics.accuracy)


@pytest.mark.parametrize("resampling", ["folds", "bootstrap"])
def test_a_saved_model_knows_what_it_holds_out(resampling: str, tmp_path: Path) -> None:
    ensemble = new_ensemble()
    dataset = dataset_of(ensemble, ANSWERS)
    fit(ensemble, dataset, FitConfig(resampling=resampling))  # type: ignore[arg-type]
    again = load(save(ensemble, tmp_path / "model"))
    found, expected = (predict_out_of_fold(model, dataset_of(model, ANSWERS)) for model in (again, ensemble))
    np.testing.assert_array_equal(found.predicted, expected.predicted)
    assert found.answers == expected.answers
    if resampling == "bootstrap":
        assert len(found) < PAIRS  # each member draws 63% of all labels, so some are drawn by all members


def test_another_resampling_makes_a_fresh_start() -> None:
    ensemble = new_ensemble()
    fit(ensemble, dataset_of(ensemble, ANSWERS[:50]), FitConfig(resampling="bootstrap"))
    fit(ensemble, dataset_of(ensemble, ANSWERS), fresh=False)
    assert ensemble.labels_at_fresh_start == PAIRS
