"""What keeps a reward plain: a group lasso on the curves of inputs, and a ridge on the layers of the network."""

from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from rlhf_envs.rewards import EnsembleConfig, FitConfig, PreferenceDataset, RewardEnsemble, fit
from rlhf_envs.rewards.saving import load, save
from rlhf_envs.segments import Segment

STEPS, TOLD, UNTOLD = 15, 2, 22
SPACE, ACTIONS = spaces.Box(-np.inf, np.inf, (TOLD + UNTOLD,), np.float32), spaces.Discrete(2)
FREE = FitConfig(group_lasso=0, ridge=0)


def clips(count: int, seed: int) -> list[Segment]:
    """Segments of which the first two numbers say how good they are, and the others nothing."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        observations = (rng.normal(size=(1, TOLD + UNTOLD)) + 0.5 * rng.normal(size=(STEPS, TOLD + UNTOLD))).astype(
            np.float32
        )
        rewards = observations[:, 0] - np.abs(observations[:, 1])
        found.append(Segment(observations, rng.integers(0, 2, STEPS), rewards))
    return found


def better(left: Segment, right: Segment) -> bool:
    return bool(right.true_rewards.sum() > left.true_rewards.sum())


def learned(config: FitConfig, answers: int, wrong: float = 0.0) -> RewardEnsemble:
    ensemble = RewardEnsemble(SPACE, ACTIONS, EnsembleConfig(members=5, hidden=(32,)))
    dataset, rng = PreferenceDataset(ensemble.encoder), np.random.default_rng(7)
    shown = clips(2 * answers, seed=0)
    for left, right in zip(shown[:answers], shown[answers:], strict=True):
        dataset.add(left, right, float(better(left, right) != (rng.random() < wrong)))
    fit(ensemble, dataset, config)
    return ensemble


def accuracy(ensemble: RewardEnsemble) -> float:
    shown = clips(800, seed=1)
    left, right = shown[:400], shown[400:]
    wanted = [better(*pair) for pair in zip(left, right, strict=True)]
    return float(((ensemble.probability_right(left, right) > 0.5) == wanted).mean())


def share_of_untold(ensemble: RewardEnsemble) -> float:
    """The share of the curves' weights that belong to numbers which say nothing."""
    columns = len(ensemble.columns)
    curves = ensemble.network.weights[-1].detach()[:, -3 * columns :].view(ensemble.config.members, 3, columns)
    lengths = curves.square().sum(dim=1).sqrt().sum(dim=0)
    return float(lengths[TOLD:].sum() / lengths.sum())


def test_few_answers_put_less_down_to_inputs_that_say_nothing() -> None:
    plain, free = learned(FitConfig(), 60), learned(FREE, 60)
    assert share_of_untold(plain) < share_of_untold(free) - 0.1
    assert accuracy(plain) > accuracy(free) + 0.05


def test_a_ridge_leaves_less_to_the_network() -> None:
    plain, free = (learned(FitConfig(ridge=ridge), 40).network.penalties()[1].detach() for ridge in (0.1, 0.0))
    assert plain < 0.1 * free


def test_a_reward_without_curves_is_charged_for_its_layers_alone() -> None:
    ensemble = RewardEnsemble(SPACE, ACTIONS, EnsembleConfig(members=3, hidden=(8,), additive=False))
    curves, layers = ensemble.network.penalties()
    assert curves.item() == 0 and layers.item() > 0


def test_curves_beside_embeddings_are_free_of_charge_as_embeddings_are() -> None:
    space = spaces.Dict({"numbers": SPACE, "word": spaces.Discrete(500)})
    curves, layers = RewardEnsemble(space, ACTIONS, EnsembleConfig(members=3, hidden=(8,))).network.penalties()
    assert curves.item() == 0 and layers.item() > 0


def test_answers_of_which_many_are_wrong_are_fitted_more_plainly(tmp_path: Path) -> None:
    doubtful, sure = learned(FitConfig(), 200, wrong=0.3), learned(FitConfig(), 200)
    assert (doubtful.penalties, sure.penalties) == (10.0, 1.0)
    assert accuracy(doubtful) > accuracy(learned(FREE, 200, wrong=0.3)) + 0.03
    assert load(save(doubtful, tmp_path / "model")).penalties == 10.0


@pytest.mark.parametrize("name", ["group_lasso", "ridge"])
def test_a_negative_penalty_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be 0 or more"):
        FitConfig(**{name: -0.1})
