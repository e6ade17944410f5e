"""Evaluation judges by the true reward alone, on the same fresh episodes every time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from gymnasium import Space
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from numpy.typing import NDArray
from stable_baselines3 import PPO

from rlhf_envs.environment import EnvironmentRef, StoredEnvironment, WrapperRef
from rlhf_envs.envs.registration import declared_measures
from rlhf_envs.evaluation.episodes import FIRST_SEED, Copies, make_copies, play
from rlhf_envs.evaluation.policies import (
    IdlePolicy,
    MixedPolicy,
    RandomPolicy,
    SB3Policy,
    ScriptedPolicy,
    bind,
    named_policy,
)
from rlhf_envs.evaluation.returns import Evaluation, Scale, baselines, drawn_metrics, evaluate, return_metrics
from rlhf_envs.evaluation.reward_model import ModelScores, predict_stored, reward_correlation
from rlhf_envs.feedback import PreferenceStore, Purpose, Query
from rlhf_envs.rewards import RewardEnsemble, preference_metrics
from rlhf_envs.sb3 import make_vec_env
from rlhf_envs.segments import Segment
from rlhf_envs.wrappers.spaces import constant_actions
from tests.answers import give_answer

HORIZON = 40
DRIVING = EnvironmentRef("rlhf/Driving-v1", {"horizon": HORIZON})


class PendulumTruth:
    """Pendulum's own reward, read off its observations."""

    def reward(self, observations: NDArray[Any], actions: NDArray[Any]) -> NDArray[np.float64]:
        cosine, sine, speed = observations.astype(np.float64).T
        torque = np.clip(actions[:, 0], -2, 2)
        return -(np.arctan2(sine, cosine) ** 2 + 0.1 * speed**2 + 0.001 * torque**2)


def test_the_objective_that_an_environment_pays_does_not_change_the_verdict() -> None:
    true = evaluate(ScriptedPolicy("proxy"), DRIVING, episodes=4)
    paying_proxy = EnvironmentRef(DRIVING.id, {**DRIVING.kwargs, "objective": "proxy"})
    proxy = evaluate(ScriptedPolicy("proxy"), paying_proxy, episodes=4)
    np.testing.assert_array_equal(true.returns, proxy.returns)


def test_the_same_policy_gets_the_same_verdict_twice() -> None:
    first = evaluate(RandomPolicy(3), DRIVING, episodes=4)
    again = evaluate(RandomPolicy(3), DRIVING, episodes=4)
    other = evaluate(RandomPolicy(3), DRIVING, episodes=4, seed=7)
    np.testing.assert_array_equal(first.returns, again.returns)
    assert not np.array_equal(first.returns, other.returns)


def test_copies_that_run_as_one_batch_earn_what_separate_copies_earn() -> None:
    batched = evaluate(ScriptedPolicy("expert"), DRIVING, episodes=3)
    separate = Copies(DRIVING, [DRIVING.make() for _ in range(3)])
    returns, terms = np.zeros(3), dict.fromkeys(batched.terms, 0.0)
    for transition in play(bind(ScriptedPolicy("expert"), separate), separate, FIRST_SEED):
        returns += transition.result.true_rewards
        for name, values in transition.result.terms.items():
            terms[name] += values.sum() / (3 * HORIZON)
    np.testing.assert_allclose(returns, batched.returns, rtol=1e-5)
    assert terms == pytest.approx(batched.terms, abs=1e-6)


def test_the_named_terms_add_up_to_the_true_reward() -> None:
    score = evaluate(RandomPolicy(), DRIVING, episodes=4)
    assert sum(score.terms.values()) == pytest.approx(score.mean / HORIZON, abs=1e-5)


def test_the_expert_beats_random_actions_and_who_games_the_proxy() -> None:
    scores = baselines("rlhf/Driving-v1", episodes=10)
    assert list(scores) == ["random", "idle", "expert", "proxy"]
    assert scores["expert"].mean > scores["proxy"].mean
    assert scores["expert"].interval()[0] > scores["random"].interval()[1]
    assert (scores["proxy"].proxy_mean or 0) > (scores["expert"].proxy_mean or 0)


def test_a_third_party_environment_has_random_and_constant_actions_to_compare_with() -> None:
    scores = baselines("Pendulum-v1", episodes=2)
    assert list(scores) == ["random", "idle"]
    assert scores["random"].proxy_returns is None
    with pytest.raises(ValueError, match="brings no scripted expert policy"):
        evaluate(ScriptedPolicy("expert"), "Pendulum-v1", episodes=1)


def test_an_episode_that_ends_early_earns_nothing_after_its_end() -> None:
    ended = evaluate(RandomPolicy(), "CartPole-v1", episodes=5)
    assert len(set(ended.returns.tolist())) > 1 and ended.returns.max() < 200
    restarted = evaluate(
        RandomPolicy(), EnvironmentRef("CartPole-v1", horizon=200, on_termination="restart"), episodes=2
    )
    np.testing.assert_array_equal(restarted.returns, [200.0, 200.0])


def test_a_mixture_runs_from_the_policy_itself_to_random_actions() -> None:
    copies = make_copies("CartPole-v1", 3)
    act = bind(MixedPolicy(lambda observations: np.ones(len(observations), dtype=np.int64), seed=1), copies)
    actions = np.stack([act(np.zeros((3, 4), dtype=np.float32)) for _ in range(400)])
    copies.close()
    shares = actions.mean(axis=0)
    assert shares[0] == 1.0
    assert 0.7 < shares[1] < 0.8
    assert 0.4 < shares[2] < 0.6


def test_the_interval_holds_the_mean_and_shrinks_with_more_episodes() -> None:
    few = evaluate(RandomPolicy(), "CartPole-v1", episodes=5)
    many = evaluate(RandomPolicy(), "CartPole-v1", episodes=80)
    for score in (few, many):
        assert score.interval()[0] < score.mean < score.interval()[1]
    assert np.diff(many.interval()) < np.diff(few.interval())


@pytest.mark.parametrize(
    ("untrained", "references", "zero", "one"),
    [
        ({"random": -7.0, "idle": 111.0, "proxy": 25.0}, {"expert": 144.0}, "idle", "expert"),
        ({"random": 21.0, "idle": None, "proxy": 67.0}, {"true": None, "expert": 179.0}, "proxy", "expert"),
        ({"random": -1205.0, "idle": -1205.0}, {"true": -160.0, "expert": -150.0}, "random", "true"),
    ],
)
def test_a_scale_runs_from_the_best_that_takes_no_learning_to_the_first_reference_that_is_known(
    untrained: dict[str, float | None], references: dict[str, float | None], zero: str, one: str
) -> None:
    scale = Scale.between(untrained, references)
    assert scale is not None and (scale.zero_policy, scale.one_policy) == (zero, one)
    assert scale.zero == untrained[zero] and scale.one == references[one]
    middle = (scale.zero + scale.one) / 2
    assert [scale.score(value) for value in (scale.zero, middle, scale.one, None)] == [0.0, 0.5, 1.0, None]
    assert str(scale) == f"{zero} {scale.zero:.1f}, {one} {scale.one:.1f}"


def test_a_reference_that_is_no_better_than_what_takes_no_learning_gives_no_score() -> None:
    assert Scale.between({"random": None}, {"expert": 1.0}) is None
    for references in ({}, {"expert": None}, {"expert": 10.0}, {"expert": 9.0}):
        scale = Scale.between({"random": 10.0}, references)
        assert scale is not None and scale.score(12.0) is None
        assert str(scale).startswith("random 10.0")


def test_metrics_say_what_their_scale_is() -> None:
    others = {name: Evaluation(np.array([value]), None, {}) for name, value in (("random", 0.0), ("idle", 20.0))}
    own = Evaluation(np.array([25.0, 35.0]), None, {})
    found = return_metrics(own, {**others, "expert": Evaluation(np.array([40.0]), None, {})})
    assert found["normalised_against_expert"] == 0.5
    assert found["scale"] == {"zero_policy": "idle", "zero": 20.0, "one_policy": "expert", "one": 40.0}
    without_expert = return_metrics(own, others)
    assert without_expert["normalised_against_expert"] is None
    assert without_expert["scale"] == {"zero_policy": "idle", "zero": 20.0, "one_policy": None, "one": None}
    assert return_metrics(own, {})["scale"] is None


def test_measures_are_averaged_over_the_episodes_in_which_they_are_defined() -> None:
    found = evaluate(RandomPolicy(), "rlhf/Glimpse-v1", episodes=4)
    assert set(found.measures) == set(declared_measures("rlhf/Glimpse-v1"))
    assert 0 < found.measures["coverage"] <= 1
    silent = evaluate(lambda seen: np.full(len(seen), 12), "rlhf/Glimpse-v1", episodes=4)
    assert silent.measures["accuracy"] is None
    assert silent.measures["coverage"] == 0
    metrics = return_metrics(found, {"idle": silent})
    assert metrics["measures"] == found.measures
    assert metrics["baseline_measures"] == {"idle": silent.measures}


def test_measures_of_single_copies_are_those_of_the_batch() -> None:
    plain = evaluate(RandomPolicy(), "rlhf/Writing-v1", episodes=2)
    wrapped = EnvironmentRef("rlhf/Writing-v1", wrappers=(WrapperRef("gymnasium.wrappers:RecordEpisodeStatistics"),))
    assert evaluate(RandomPolicy(), wrapped, episodes=2).measures == pytest.approx(plain.measures)
    assert evaluate(RandomPolicy(), "Pendulum-v1", episodes=1).measures == {}
    assert declared_measures("Pendulum-v1") == {}


def test_a_reward_model_that_knows_the_truth_correlates_perfectly() -> None:
    truth = cast(RewardEnsemble, PendulumTruth())
    found = reward_correlation(truth, RandomPolicy(), "Pendulum-v1", segment_length=25, episodes=2)
    assert set(found) == {"policy", "mixture"}
    for agreement in found.values():
        assert agreement.true_steps.shape == (400,)
        assert agreement.true_segments.shape == (16,)
        assert agreement.steps.pearson == pytest.approx(1, abs=1e-4)
        assert agreement.segments.spearman == pytest.approx(1)


def test_rewards_of_long_rollouts_are_computed_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = cast(RewardEnsemble, PendulumTruth())
    once = reward_correlation(truth, RandomPolicy(), "Pendulum-v1", segment_length=25, episodes=2)
    monkeypatch.setattr("rlhf_envs.evaluation.reward_model._SCORED_BYTES", 100)
    parts = reward_correlation(truth, RandomPolicy(), "Pendulum-v1", segment_length=25, episodes=2)
    for name, agreement in once.items():
        np.testing.assert_array_equal(parts[name].learned_steps, agreement.learned_steps)


def test_segments_that_no_episode_holds_are_refused() -> None:
    truth = cast(RewardEnsemble, PendulumTruth())
    with pytest.raises(ValueError, match="Segments of 300 steps do not fit into episodes of 200"):
        reward_correlation(truth, RandomPolicy(), "Pendulum-v1", segment_length=300, episodes=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore.create(tmp_path / "feedback.db", StoredEnvironment(EnvironmentRef("none"))) as opened:
        rng = np.random.default_rng(0)
        segments = [
            Segment(rng.normal(size=(5, 3)).astype(np.float32), rng.integers(2, size=5), np.zeros(5, np.float32))
            for _ in range(12)
        ]
        opened.ask(
            [
                Query(f"0/{purpose}/{pair}", 0, (segments[2 * pair], segments[2 * pair + 1]), purpose=purpose)
                for pair, purpose in enumerate([Purpose.TEST] * 5 + [Purpose.TRAIN])
            ]
        )
        yield opened


@pytest.fixture
def ensemble() -> RewardEnsemble:
    return RewardEnsemble(Box(-9, 9, (3,)), Discrete(2), seed=1)


def test_held_out_answers_are_scored_and_answers_taken_back_are_not(
    store: PreferenceStore, ensemble: RewardEnsemble
) -> None:
    queries = store.queries()
    for query, choice in zip(queries, ("left", "right", "tie", "skip", "left", "right"), strict=True):
        give_answer(store, query.id or 0, "someone", choice)
        if query is queries[4]:
            store.undo("someone")
    found = ModelScores.of(predict_stored(ensemble, store))
    expected = ensemble.probability_right(
        [query.segments[0] for query in queries[:4]], [query.segments[1] for query in queries[:4]]
    )
    assert found.scores == preference_metrics(expected, [0, 1, 0.5, np.nan])
    assert (found.scores.decided, found.scores.ties, found.scores.skips) == (2, 1, 1)
    assert found.to_metrics()["test_accuracy"] == found.scores.accuracy
    assert found.to_metrics()["accuracy_from"] == "held-out answers"


def test_without_a_decided_test_answer_there_is_no_score(store: PreferenceStore, ensemble: RewardEnsemble) -> None:
    for answered in (False, True):
        if answered:
            give_answer(store, store.queries()[0].id or 0, "someone", "tie")
        metrics = ModelScores.of(predict_stored(ensemble, store)).to_metrics()
        assert (metrics["test_decided"], metrics["test_accuracy"], metrics["test_f1"]) == (0, None, None)


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda: evaluate(RandomPolicy(), "rlhf/Drivin-v0"), "Did you mean rlhf/Driving-v1"),
        (lambda: evaluate(RandomPolicy(), DRIVING, episodes=0), "At least 1 episode must be played, not 0"),
        (lambda: named_policy("best"), "policy must be one of random, idle, expert, proxy, not 'best'"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(ask: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ask()


def test_idle_repeats_the_constant_action_that_earns_most() -> None:
    with closing(make_copies("MountainCarContinuous-v0", 3)) as copies:
        # Every push costs its square, and none that is constant reaches the goal.
        act = IdlePolicy().bind(copies)
        assert np.array_equal(act(copies.reset(0)), np.zeros((3, 1), np.float32))
    scores = baselines("rlhf/Driving-v1", episodes=10)
    assert scores["random"].mean < scores["idle"].mean < scores["expert"].mean


@pytest.mark.parametrize(
    "space, count",
    [
        (Discrete(4, start=2), 4),
        (MultiDiscrete([3, 2]), 4),
        (Box(-2.0, 1.0, (2,)), 8),
        (Box(-np.inf, np.inf, (30,)), 32),
        (MultiBinary(3), 32),
    ],
)
def test_constant_actions_are_actions_and_not_too_many(space: Space[Any], count: int) -> None:
    actions = constant_actions(space)
    assert len(actions) == count and all(action in space for action in actions)


@pytest.mark.parametrize(
    "environment, draws",
    [
        (
            EnvironmentRef(
                "minigrid:MiniGrid-Empty-5x5-v0", wrappers=(WrapperRef.of("minigrid.wrappers:FlatObsWrapper"),)
            ),
            True,
        ),
        (EnvironmentRef("CartPole-v1"), False),
    ],
    ids=str,
)
def test_actions_are_drawn_where_nothing_moves_by_itself_and_alike_each_time(
    environment: EnvironmentRef, draws: bool
) -> None:
    """An untrained policy finds all actions nearly as likely, so that drawn ones differ."""
    with closing(make_vec_env(environment, 1)) as env:
        model = PPO("MlpPolicy", env, n_steps=2, batch_size=2, device="cpu")
    random_state = torch.get_rng_state()
    with closing(make_copies(environment, 1)) as copies:
        shown = copies.reset(seed=0)
        acts = [SB3Policy(model).bind(copies) for _ in range(2)]
        first, second = ([int(act(shown)[0]) for _ in range(50)] for act in acts)
    assert first == second
    assert (len(set(first)) > 1) == draws
    assert torch.equal(torch.get_rng_state(), random_state)


def evaluation(returns: list[float]) -> Evaluation:
    return Evaluation(np.array(returns), None, {})


def test_a_policy_that_needs_chance_is_told_by_both_of_its_returns() -> None:
    stuck, lucky, random = (evaluation([value] * 10) for value in (0.0, 0.9, 0.05))
    found = drawn_metrics(lucky, stuck, random)
    assert (found["drawn_return_mean"], found["drawn_return_std"]) == (pytest.approx(0.9), pytest.approx(0))
    assert found["concerns"] == [
        "By its most likely actions the policy earns 0 in an episode, by drawn ones, as in training, 0.9: act with "
        "deterministic=False, or train for longer."
    ]
    # Noise that costs something is what one expects, a difference within chance or of little weight says nothing.
    for drawn, own in (
        (stuck, lucky),
        (evaluation([0.0, 1.8] * 5), evaluation([0.0, 1.6] * 5)),
        (lucky, evaluation([0.89] * 10)),
    ):
        assert "concerns" not in drawn_metrics(drawn, own, random)
    assert drawn_metrics(None, stuck, random) == {}
    assert set(drawn_metrics(lucky, None, random)) == {"drawn_return_mean", "drawn_return_std"}
