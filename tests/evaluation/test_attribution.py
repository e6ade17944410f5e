"""What inputs are said to add to the learned reward adds up to it, whatever the inputs are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.evaluation.attribution import RewardAttributor, input_names, most_important
from rlhf_envs.evaluation.reward_model import agreement_with_truth
from rlhf_envs.feedback import PreferenceStore, Query, ranking_payload
from rlhf_envs.observations import Observations, Transitions
from rlhf_envs.rewards import EnsembleConfig, RewardEnsemble
from rlhf_envs.rewards.encoding import InputSource
from rlhf_envs.segments import Segment
from tests.answers import give_answer

pytest.importorskip("captum")
CARTPOLE = EnvironmentRef("CartPole-v1")


def sampled(space: spaces.Space[Any], steps: int) -> Any:
    drawn = [space.sample() for _ in range(steps)]
    if isinstance(space, spaces.Dict):
        return {name: np.stack([each[name] for each in drawn]) for name in space.spaces}
    return np.stack(drawn)


def segment_of(observation_space: spaces.Space[Any], action_space: spaces.Space[Any], steps: int = 20) -> Segment:
    observations: Observations = sampled(observation_space, steps)
    return Segment(observations, sampled(action_space, steps), np.zeros(steps, np.float32))


SPACES: dict[str, tuple[spaces.Space[Any], spaces.Space[Any]]] = {
    "numbers": (spaces.Box(-1, 1, (4,), np.float32, seed=1), spaces.Box(-1, 1, (2,), np.float32, seed=2)),
    "categories": (spaces.MultiDiscrete([3, 200], seed=1), spaces.Discrete(3, seed=2)),
    "parts": (
        spaces.Dict(
            {"camera": spaces.Box(0, 255, (28, 28, 1), np.uint8), "speed": spaces.Box(-1, 1, (1,), np.float32)}, seed=1
        ),
        spaces.Discrete(3, seed=2),
    ),
}


@pytest.mark.parametrize("kind", list(SPACES))
@pytest.mark.parametrize("pays_events", [False, True])
def test_the_shares_of_a_step_add_up_to_its_learned_reward(kind: str, pays_events: bool) -> None:
    observation_space, action_space = SPACES[kind]
    ensemble = RewardEnsemble(observation_space, action_space, EnsembleConfig(members=3), absorbing=pays_events)
    if pays_events and not ensemble.network.event_weights:
        pytest.skip("nothing is paid for events of categories and pictures alone")
    with torch.no_grad():
        for weights in ensemble.network.event_weights.values() if pays_events else ():
            weights.normal_(0, 0.02, generator=torch.Generator().manual_seed(3))
    segment = segment_of(observation_space, action_space)
    attributor = RewardAttributor(ensemble, [segment], CARTPOLE)
    transitions = segment.transitions
    last = np.arange(len(segment)) == len(segment) - 1
    transitions = Transitions(
        transitions.observations, transitions.actions, transitions.next_observations, last, last & pays_events
    )
    shares, rewards = attributor(transitions), ensemble.transition_reward(transitions)
    assert shares.shape == (len(segment), len(attributor.names))
    # The reward of the average step, which the shares leave out, is the same for all.
    assert np.ptp(rewards - shares.sum(axis=1)) < 0.05 * np.ptp(rewards)
    assert np.abs(shares).max(axis=0).min() > 0


def test_an_input_that_never_changes_has_no_share() -> None:
    observation_space, action_space = SPACES["numbers"]
    segment = segment_of(observation_space, action_space)
    assert isinstance(segment.observations, np.ndarray)
    segment.observations[:, 2] = 0.7
    attributor = RewardAttributor(RewardEnsemble(observation_space, action_space), [segment], CARTPOLE)
    shares = attributor(segment.transitions)
    place = attributor.names.index("observation 2")
    assert np.abs(shares[:, place]).max() < 1e-6 < np.abs(np.delete(shares, place, axis=1)).max(axis=0).min()
    assert most_important(attributor.names, shares, 10)[-1] == "observation 2"


def test_inputs_are_called_as_the_documentation_calls_them() -> None:
    sources = [InputSource("", place) for place in range(17)] + [InputSource("", place, True) for place in range(2)]
    names = input_names(EnvironmentRef("rlhf/Driving-v1"), sources, set())
    assert names[:4] == ["speed", "acceleration", "heading", "distance from the lane's centre"]
    assert names[5:8] == ["gap to the car ahead"] * 3
    assert names[-2:] == ["action 0", "action 1"]
    parts = [InputSource("camera", 0), InputSource("speed", 0), InputSource("", 0, True)]
    assert input_names(CARTPOLE, parts, {parts[0]}) == ["camera", "speed 0", "action"]
    assert input_names(CARTPOLE, [InputSource("", 1)], set()) == ["observation 1"]


def test_without_captum_the_reason_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'rlhf-envs\[explain\]'"):
        RewardAttributor(RewardEnsemble(*SPACES["numbers"]), [], CARTPOLE)


def test_answers_are_held_against_the_truth_only_where_it_decides(store: PreferenceStore) -> None:
    observation_space, action_space = SPACES["numbers"]
    low, high, same = (segment_of(observation_space, action_space, 4) for _ in range(3))
    high.true_rewards[:] = same.true_rewards[:] = 1.0
    asked = store.ask(
        [Query("0", 0, (low, high)), Query("1", 0, (high, same)), Query("2", 0, (low, high, same), "ranking")]
    )
    give_answer(store, asked[0], "ann", "right")
    give_answer(store, asked[1], "ann", "left")
    give_answer(store, asked[2], "ann", None, payload=ranking_payload([1, 0, 2]))
    give_answer(store, asked[0], "bob", "left")
    give_answer(store, asked[1], "bob", "tie")
    found = agreement_with_truth(store.live_answers(), store)
    assert found == {"ann": (2, 3), "bob": (0, 1)}
