import json
import sys
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from rlhf_envs.rewards import OBJECTIVES, EnsembleConfig, Probit, RewardEnsemble, fit, load, save
from tests.rewards.learning import ACTION_SPACE, OBSERVATION_SPACE, add_comparisons, new_problem, pendulum_segments
from tests.rewards.test_encoding import ACTIONS, OBSERVATIONS, batch_of


def test_a_saved_ensemble_rewards_bit_for_bit_as_before_and_refits_as_if_never_saved(tmp_path: Path) -> None:
    ensemble, dataset = new_problem(30)
    fit(ensemble, dataset)
    loaded = load(save(ensemble, tmp_path / "reward_model"))
    segment = pendulum_segments(1, seed=3)[0]
    for _ in range(2):
        np.testing.assert_array_equal(
            loaded.reward(segment.observations, segment.actions), ensemble.reward(segment.observations, segment.actions)
        )
        add_comparisons(dataset, 5, seed=4)
        fit(ensemble, dataset)
        fit(loaded, dataset)


@pytest.mark.parametrize("observation_space", OBSERVATIONS.values(), ids=OBSERVATIONS)
@pytest.mark.parametrize("action_space", ACTIONS.values(), ids=ACTIONS)
def test_every_supported_space_survives_saving(
    observation_space: spaces.Space, action_space: spaces.Space, tmp_path: Path
) -> None:
    ensemble = RewardEnsemble(observation_space, action_space, EnsembleConfig(members=2, hidden=(4,)))
    save(ensemble, tmp_path / "model.v1")
    loaded = load(tmp_path / "model.v1.safetensors")
    observations, actions = batch_of(observation_space, 3), batch_of(action_space, 3)
    np.testing.assert_array_equal(loaded.reward(observations, actions), ensemble.reward(observations, actions))


def test_a_model_for_another_environment_says_which_it_was_learned_for() -> None:
    model = RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE)
    model.check_fits(OBSERVATION_SPACE, ACTION_SPACE, terminates=False)
    with pytest.raises(
        ValueError, match=r"for the observation space Box\(-inf, inf, \(3,\).* here it is Discrete\(4\)"
    ):
        model.check_fits(spaces.Discrete(4), ACTION_SPACE, terminates=False)
    with pytest.raises(ValueError, match=r"for the action space Box\(-2.* here it is Discrete\(2\)"):
        model.check_fits(OBSERVATION_SPACE, spaces.Discrete(2), terminates=False)
    with pytest.raises(ValueError, match="does not know what an end is worth"):
        model.check_fits(OBSERVATION_SPACE, ACTION_SPACE, terminates=True)


def test_the_description_is_plain_json_that_a_person_can_read(tmp_path: Path) -> None:
    save(RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE), tmp_path / "model")
    text = (tmp_path / "model.json").read_text()
    description = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert description["observation_space"]["kind"] == "Box"
    assert description["config"]["members"] == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


def test_a_damaged_file_is_called_damaged_wherever_it_is_cut(tmp_path: Path) -> None:
    path = save(RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE), tmp_path / "model")
    content = path.read_bytes()
    for length in (0, 4, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="damaged or not a reward model"):
            load(path)
    path.write_bytes(content.replace(b"member_std", b"member_sta"))
    with pytest.raises(ValueError, match="damaged or not a reward model"):
        load(path)


def test_no_flipped_bit_of_a_model_rewards_anybody(tmp_path: Path) -> None:
    path = save(RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE, EnsembleConfig(members=2, hidden=(4,))), tmp_path / "m")
    content = path.read_bytes()
    for place in np.random.default_rng(0).integers(len(content), size=300):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(place) % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"damaged or not a reward model|has reward model format"):
            load(path)


@pytest.mark.parametrize(("version", "advice"), [(99, "update rlhf_envs"), (1, "learn it anew")])
def test_a_file_of_another_version_says_what_to_do(
    version: int, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlhf_envs.rewards.saving.FORMAT_VERSION", version)
    path = save(RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE), tmp_path / "model")
    monkeypatch.undo()
    with pytest.raises(ValueError, match=rf"format {version},.*reads format 7; {advice}"):
        load(path)


def test_a_failed_save_leaves_the_older_model_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensemble, dataset = new_problem(10)
    path = save(ensemble, tmp_path / "model")
    before = path.read_bytes()
    fit(ensemble, dataset)

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save(ensemble, path)
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


def test_a_model_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no reward model at"):
        load(tmp_path / "nothing")


def test_an_objective_is_saved_by_its_name(tmp_path: Path) -> None:
    config = EnsembleConfig(objective="probit")
    ensemble = RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE, config)
    loaded = load(save(ensemble, tmp_path / "model"))
    assert loaded.config == config and loaded.objective is OBJECTIVES["probit"]
    sides = pendulum_segments(4, seed=0), pendulum_segments(4, seed=1)
    np.testing.assert_array_equal(loaded.probability_right(*sides), ensemble.probability_right(*sides))


def test_an_objective_that_a_file_names_is_never_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cautious.py").write_text(
        "from rlhf_envs.objectives import Probit\nclass Cautious(Probit):\n    'One of a user.'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = EnsembleConfig(objective="cautious:Cautious")
    path = save(RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE, own), tmp_path / "model")
    objective = type(load(path, objective=OBJECTIVES["probit"]).objective)
    assert objective is Probit
    monkeypatch.delitem(sys.modules, "cautious")
    with pytest.raises(ValueError, match="was fitted with the objective 'cautious:Cautious', which is not registered"):
        load(path)
    assert "cautious" not in sys.modules
    OBJECTIVES.register("cautious", Probit())
    try:
        path = save(RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE, EnsembleConfig(objective="cautious")), path)
        assert load(path).objective is OBJECTIVES["cautious"]
    finally:
        OBJECTIVES.unregister("cautious")
    with pytest.raises(ValueError, match="was fitted with the objective 'cautious', which is not registered"):
        load(path)
