"""The part of a learned reward that says whether something gets better from one step to the next."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlhf_envs.observations import Transitions
from rlhf_envs.recording import SegmentRecorder
from rlhf_envs.rewards import EnsembleConfig, PreferenceDataset, RewardEnsemble, fit
from rlhf_envs.rewards.forms import Form, best_form, promising_forms
from rlhf_envs.segments import Segment
from rlhf_envs.wrappers.rewards import TransitionRewardFunction, rewards_of

SPACE, ACTIONS = spaces.Box(-np.inf, np.inf, (4,), np.float32), spaces.Box(-1, 1, (1,), np.float32)
STEPS = 20


def walks(count: int, seed: int, ends_at: int | None = None) -> list[Segment]:
    """Segments of a point that drifts in the plane, paid for coming closer to the middle.

    It is seen where the point is, and two numbers that say nothing, so that no single step tells where it is going.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        place, velocity = rng.normal(size=2) * 3, rng.normal(size=2)
        shown, rewards = [], []
        for _ in range(STEPS):
            shown.append([*place, *rng.normal(size=2)])
            velocity = 0.9 * velocity + 0.3 * rng.normal(size=2)
            following = place + 0.3 * velocity
            rewards.append(np.abs(place).sum() - np.abs(following).sum())
            place = following
        observations = np.array(shown, np.float32)
        absorbing = None
        if ends_at is not None:
            absorbing = np.arange(STEPS) >= ends_at
            observations[absorbing] = 0
        found.append(
            Segment(observations, np.zeros((STEPS, 1), np.float32), np.array(rewards, np.float32), absorbing=absorbing)
        )
    return found


def learned(potential: bool, answers: int = 100, absorbing: bool = False) -> RewardEnsemble:
    ensemble = RewardEnsemble(SPACE, ACTIONS, EnsembleConfig(potential=potential), absorbing=absorbing)
    dataset = PreferenceDataset(ensemble.encoder)
    shown = walks(2 * answers, seed=0)
    for left, right in zip(shown[:answers], shown[answers:], strict=True):
        dataset.add(left, right, float(right.true_rewards.sum() > left.true_rewards.sum()))
    fit(ensemble, dataset)
    return ensemble


def accuracy(ensemble: RewardEnsemble) -> float:
    shown = walks(800, seed=1)
    left, right = shown[:400], shown[400:]
    better = np.array([b.true_rewards.sum() > a.true_rewards.sum() for a, b in zip(left, right, strict=True)])
    return float(((ensemble.probability_right(left, right) > 0.5) == better).mean())


def test_progress_is_learned_from_a_hundred_answers_by_a_potential_and_hardly_without() -> None:
    with_potential, without = accuracy(learned(True)), accuracy(learned(False))
    assert with_potential > 0.88
    assert with_potential > without + 0.1


def test_a_form_is_chosen_anew_when_the_labels_have_grown_by_half_and_kept_until_then() -> None:
    ensemble = RewardEnsemble(SPACE, ACTIONS)
    dataset = PreferenceDataset(ensemble.encoder)
    shown = walks(160, seed=0)
    chosen_at = []
    for number, (left, right) in enumerate(zip(shown[::2], shown[1::2], strict=True), 1):
        dataset.add(left, right, float(right.true_rewards.sum() > left.true_rewards.sum()))
        if number in (40, 50, 60, 80):
            fit(ensemble, dataset)
            chosen_at.append(ensemble.labels_at_choice_of_form)
            assert ensemble.labels_at_fresh_start == number
            # The potential that explains these walks stays where no other form is tried.
            assert ensemble.network.event_weights["potential"].any()
    assert chosen_at == [40, 40, 60, 60]


def test_a_potential_comes_sooner_where_episodes_terminate_and_stays_once_it_is_there() -> None:
    """It predicts ten labels better by 0.4 of a standard error of the difference."""
    steps, potential = Form(frozenset({"steps"})), Form(frozenset({"steps", "potential"}))
    usual = np.full(10, 0.5)
    losses = [usual, usual + np.array([-0.3, 0.2] * 4 + [-0.3, 0.0])]
    difference = losses[1] - losses[0]
    assert -1.5 < difference.mean() / (difference.std(ddof=1) / math.sqrt(10)) < 0
    for kept, terminates, chosen in ((steps, False, 0), (steps, True, 1), (potential, False, 1)):
        assert best_form((steps, potential), losses, kept.parts, terminates) == chosen
    assert best_form((steps, potential), losses[::-1], potential.parts, True) == 0


def test_forms_that_are_far_behind_after_a_part_of_their_fit_are_given_up_but_for_the_first_and_the_kept_one() -> None:
    steps, potential, both = frozenset({"steps"}), frozenset({"potential"}), frozenset({"steps", "potential"})
    usual = np.full(10, 0.5)
    behind, ahead = usual + np.array([0.4, 0.2] * 5), usual - np.array([0.4, 0.2] * 5)
    forms = (Form(steps), Form(both), Form(potential))
    assert promising_forms(forms, [usual, behind, ahead], kept=steps) == [0, 2]
    assert promising_forms(forms, [usual, behind, ahead], kept=both) == [0, 1, 2]
    assert promising_forms(forms, [usual, behind, behind], kept=steps) == [0]
    # One label tells nothing.
    assert promising_forms(forms, [usual[:1], behind[:1], ahead[:1]], kept=steps) == [0, 1, 2]


def test_forms_that_are_given_up_change_nothing_in_the_one_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[list[int]] = []

    def all_of_them(forms: Sequence[Form], losses: Sequence[Any], kept: frozenset[str]) -> list[int]:
        tried.append(promising_forms(forms, losses, kept))
        return list(range(len(forms)))

    def paid_for_the_place() -> RewardEnsemble:
        ensemble = RewardEnsemble(SPACE, ACTIONS)
        dataset = PreferenceDataset(ensemble.encoder)
        for left, right in zip(walks(60, seed=0), walks(60, seed=1), strict=True):
            first, second = (np.asarray(segment.observations)[:, 0].sum() for segment in (left, right))
            dataset.add(left, right, float(second > first))
        fit(ensemble, dataset)
        return ensemble

    given_up = paid_for_the_place()
    monkeypatch.setattr("rlhf_envs.rewards.fitting.promising_forms", all_of_them)
    to_the_end = paid_for_the_place()
    assert 2 not in tried[0], "a potential alone cannot say this"
    shown = walks(5, seed=8)
    observations = np.stack([segment.observations for segment in shown])
    actions = np.stack([segment.actions for segment in shown])
    returns = [ensemble.segment_returns(observations, actions) for ensemble in (given_up, to_the_end)]
    assert np.array_equal(*returns)


def test_what_is_paid_for_the_steps_of_a_segment_sums_up_to_its_return() -> None:
    ensemble = learned(True)
    segment = walks(1, seed=5)[0]
    following = np.concatenate([segment.observations[1:], segment.observations[-1:]])
    transitions = Transitions(segment.observations, segment.actions, following, np.arange(STEPS) == STEPS - 1)
    # Without pessimism the reward is linear in the members' raw rewards.
    ensemble.config = EnsembleConfig(pessimism=0)
    ensemble.normalise(transitions)
    paid = ensemble.transition_reward(transitions)
    raw = ensemble.segment_returns(segment.observations[None], segment.actions[None])[:, 0]
    mean, std = ensemble.member_mean.numpy(), ensemble.member_std.numpy()
    expected = (((raw - STEPS * mean) / std).mean() - STEPS * ensemble.offset) * ensemble.scale
    assert paid.sum() == pytest.approx(float(expected), abs=1e-3)
    assert paid.std() == pytest.approx(1, abs=1e-3)


def test_a_return_is_linear_in_what_the_last_layers_read_and_ends_where_life_does() -> None:
    ensemble = learned(True, absorbing=True)
    for shown in (walks(5, seed=6), walks(5, seed=6, ends_at=7)):
        returns = ensemble.segment_returns(
            np.stack([segment.observations for segment in shown]),
            np.stack([segment.actions for segment in shown]),
            np.stack([segment.is_absorbing for segment in shown]),
        )
        from_features = np.einsum("kmh,kh->km", ensemble.segment_features(shown), ensemble.last_weights)
        np.testing.assert_allclose(returns - returns[:, :1], from_features - from_features[:, :1], rtol=1e-3, atol=1e-3)


def test_no_potential_is_paid_across_the_end_of_an_episode_or_where_nothing_is_known() -> None:
    ensemble = learned(True)
    segment = walks(1, seed=7)[0]
    before, after = segment.observations[:4], segment.observations[4:8]
    alone = ensemble.reward(before, segment.actions[:4])
    ended = np.array([False, True, False, True])
    paid = ensemble.transition_reward(Transitions(before, segment.actions[:4], after, ended))
    assert np.array_equal(paid[ended], alone[ended]) and not np.isclose(paid[~ended], alone[~ended]).any()
    assert np.array_equal(ensemble.transition_reward(Transitions(before, segment.actions[:4])), alone)


def test_a_recorder_knows_what_each_step_led_to_and_where_episodes_ended() -> None:
    recorder = SegmentRecorder(spaces.Box(0, 99, (1,), np.float32), spaces.Discrete(2), 2, capacity_steps=3)
    for step in range(5):
        shown = np.array([[step], [10 + step]], np.float32)
        recorder.record(shown, np.zeros(2, int), np.zeros(2), np.array([step == 3, False]))
    found = recorder.latest_transitions(following=np.array([[5.0], [15.0]], np.float32))
    assert isinstance(found.next_observations, np.ndarray) and found.ended is not None
    assert found.observations.reshape(3, 2).tolist() == [[2, 12], [3, 13], [4, 14]]  # type: ignore[union-attr]
    assert found.next_observations.reshape(3, 2).tolist() == [[3, 13], [4, 14], [5, 15]]
    assert found.ended.reshape(3, 2).tolist() == [[False, False], [True, False], [False, False]]
    unknown = recorder.latest_transitions(2)
    assert unknown.ended is not None and unknown.ended.tolist() == [True, False, True, True]


def test_reward_functions_of_single_steps_are_asked_for_those() -> None:
    class Alone:
        def reward(self, observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
            return observations[:, 0]

    transitions = Transitions(np.full((2, 4), 3.0, np.float32), np.zeros((2, 1), np.float32))
    assert rewards_of(Alone(), transitions).tolist() == [3, 3]
    assert isinstance(learned(True, answers=8), TransitionRewardFunction)


def test_large_categories_alone_have_no_potential() -> None:
    ensemble = RewardEnsemble(spaces.Discrete(500), spaces.Discrete(2), EnsembleConfig(2, (8,)))
    assert not ensemble.network.has_potential
    assert not ensemble.network.has_events and ensemble.last_weights.shape[1] == ensemble.network.width
