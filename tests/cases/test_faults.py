"""What goes wrong in a user's environment is told as its fault, and a trained run always ends with its report."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from stable_baselines3 import PPO

from agents.callbacks import EarlyEndCallback
from rlhf_envs.clips import clip_painter
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.evaluation import baselines, evaluate
from rlhf_envs.evaluation.reward_model import CORRELATION
from rlhf_envs.loop.clip_length import clip_length
from rlhf_envs.report.film import EpisodeRenderer
from rlhf_envs.sb3 import make_vec_env
from rlhf_envs.testing import EnvironmentCheckError, check_environment
from rlhf_envs.wrappers import EnvironmentFault, true_reward, true_rewards
from scripts import train
from tests.cases import environments
from tests.scripts.settings import TINY

PLACE = "tests.cases.environments:odd"


def ref(name: str, **arguments: Any) -> EnvironmentRef:
    return EnvironmentRef(f"{PLACE}/{name}-v0", **arguments)


def play(name: str, steps: int = 45, **arguments: Any) -> list[Any]:
    venv = make_vec_env(ref(name), 2, **arguments)
    try:
        found = [venv.reset()]
        found += [venv.step(np.zeros((2, *(venv.action_space.shape or ())), np.int64)) for _ in range(steps)]
    finally:
        venv.close()
    return found


@pytest.mark.parametrize("name", environments.FAULTS)
def test_a_fault_names_environment_copy_step_and_line(name: str) -> None:
    with pytest.raises(EnvironmentFault, match=environments.FAULTS[name][1]) as fault:
        play(name)
    assert str(fault.value).startswith(f"{PLACE}/{name}-v0 ") and "\n" not in str(fault.value)


@pytest.mark.parametrize("name", ["Explodes", "NaNObs"])
def test_it_is_the_same_out_of_a_process_of_its_own(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(EnvironmentFault, match=environments.FAULTS[name][1]):
        play(name, processes=True)
    assert "Traceback" not in capfd.readouterr().err


def test_a_process_that_ends_is_told_with_its_exit_code() -> None:
    with pytest.raises(EnvironmentFault, match=r"DiesAsProcess-v0 ended the process of copy 0 \(exit code 7\)"):
        play("DiesAsProcess", processes=True)


@pytest.mark.parametrize("name", environments.MASKS)
def test_masks_of_actions_are_joined_or_their_fault_is_told(name: str) -> None:
    said = environments.MASKS[name][1]
    venv = make_vec_env(ref(name), 2)
    venv.reset()
    assert venv.has_attr("action_masks")
    if said is None:
        assert [mask.tolist() for mask in venv.env_method("action_masks")] == 2 * [[True, False, True, True, False]]
    else:
        with pytest.raises(EnvironmentFault, match=said):
            venv.env_method("action_masks")
    venv.close()


@pytest.mark.parametrize("processes", [False, True])
@pytest.mark.parametrize("name", environments.INFOS)
def test_infos_of_any_kind_disturb_nothing(name: str, processes: bool) -> None:
    for _, rewards, _, infos in play(name, 42, processes=processes)[1:]:
        assert rewards.tolist() == [0, 0]
        assert [info["true_reward"] for info in infos] == [0, 0]  # what action 0 is paid
        assert not {"proxy_reward", "reward_terms", "episode", "is_success", "final_obs"} & set(infos[0])


@pytest.mark.parametrize("name", environments.INFOS)
def test_evaluation_counts_what_the_environment_pays(name: str) -> None:
    found = evaluate(lambda observations: np.ones(len(observations), np.int64), ref(name), episodes=2)
    assert found.returns.tolist() == [40, 40] and found.proxy_returns is None


def test_policies_that_need_no_training_keep_to_the_masks() -> None:
    found = baselines(ref("Masked"), episodes=2)
    assert 0 < found["random"].mean < found["idle"].mean < 2 * environments.LENGTH
    assert found["random"].mean == baselines(ref("Masked"), episodes=2)["random"].mean


def test_the_true_reward_of_another_form_is_somebody_elses() -> None:
    told = np.array([None, 3], dtype=object)
    assert true_rewards(np.array([1.0, 2.0]), {"true_reward": told}).tolist() == [1, 2]
    assert true_rewards(np.array([1.0, 2.0]), {"true_reward": np.array([5.0, 6.0])}).tolist() == [5, 6]
    assert true_reward(1.0, {"true_reward": "n/a"}) == 1.0


@pytest.mark.parametrize("name", environments.PAID)
def test_a_reward_of_one_number_is_taken_in_any_form(name: str) -> None:
    *_, infos = play(name, 3)[-1]
    assert [info["true_reward"] for info in infos] == 2 * [environments.PAID[name][1]]


def test_observations_and_flags_in_another_form_are_taken() -> None:
    assert play("ListObs", 1)[-1][0][0].dtype == np.float32
    assert play("Lists", 1)[-1][1].tolist() == [0.0, 0.0]
    ends = [bool(step[2][0]) for step in play("FlagsInArrays", 10)[1:]]
    assert ends.index(True) == 8


def test_an_environment_may_give_the_same_array_and_the_same_info_at_each_step() -> None:
    observations, _, dones, infos = play("SameArray", environments.LENGTH)[-1]
    assert dones.all() and not observations.any()
    assert [info["terminal_observation"].tolist() for info in infos] == [[1, 1, 1]] * 2
    evaluate(lambda observations: np.zeros(len(observations), np.int64), ref("SameArray"), episodes=1)
    assert environments.SAME_INFO == {"k": 1}


def test_an_environment_may_spoil_its_argument_and_fail_to_close(caplog: pytest.LogCaptureFixture) -> None:
    venv = make_vec_env(ref("Greedy"), 2)
    venv.reset()
    venv.step(np.ones((2, 2), np.float32))
    assert venv.recorder.latest(1)[1].tolist() == [[1, 1], [1, 1]]
    venv.close()
    play("CannotClose", 1)
    assert "raised KeyError in close() of copy 0, step 1: 'window' (environments.py:" in caplog.text
    assert play("OneNumber", 1)[-1][0].tolist() == [[0.25], [0.25]]


@pytest.mark.parametrize(
    "name, arguments, said",
    [
        ("NeedsLevel", {}, "does not take these arguments: .*missing 1 required positional argument: 'level'"),
        ("NeedsLevel", {"level": 0}, r"cannot be made, it raised ZeroDivisionError: .* \(environments.py:\d+\)"),
        ("Parallel", {}, "cannot be made: The environment must inherit from the gymnasium.Env class"),
        ("MetaNone", {}, "MetaNone-v0 cannot be made: Expect the environment metadata to be dict"),
        ("NoLimit", {}, "registered without a limit of steps"),
    ],
)
def test_what_cannot_be_made_is_told_before_anything_runs(name: str, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_vec_env(ref(name, kwargs=arguments), 2)


@pytest.mark.parametrize(
    "name, said",
    [
        ("RenderRaises", r"raised KeyError in render\(\) of copy 0, step 0: 'screen' \(environments.py:\d+\)"),
        ("RenderNone", r"must give an array \(rows, columns, 3\) of uint8, not None"),
    ],
)
def test_pictures_that_cannot_be_shown_are_found_at_the_start(name: str, said: str) -> None:
    with pytest.raises((ValueError, EnvironmentFault), match=said):
        make_vec_env(ref(name), 2, frames=True)
    grey = make_vec_env(ref("RenderGray"), 2, frames=True)
    grey.close()


def test_pictures_that_grow_are_recorded_in_one_size() -> None:
    venv = make_vec_env(ref("RenderGrow"), 2, frames=True)
    venv.reset()
    for _ in range(12):
        venv.step(np.zeros(2, np.int64))
    segment = venv.recorder.segment(venv.recorder.sample_windows(1, 6, np.random.default_rng(0)), 0)
    venv.close()
    assert segment.frames is not None and segment.frames.shape == (6, 64, 96, 3)


@pytest.mark.parametrize("name", ["NoFps", "Fps0", "FpsText"])
def test_pictures_without_a_rate_are_shown_at_a_usual_one(name: str) -> None:
    assert clip_painter(ref(name)).frames_per_second == clip_painter(ref("NoFps")).frames_per_second > 0
    assert EpisodeRenderer(ref(name)).frames_per_second > 0
    assert "does not say how many steps a second it has" in str(clip_length(ref(name)))


def test_an_environment_with_hidden_randomness_fails_its_check() -> None:
    with pytest.raises(EnvironmentCheckError, match="is_deterministic: two episodes with the same seed"):
        check_environment(f"{PLACE}/GlobalRNG-v0")


def test_a_limit_that_the_environment_has_itself_is_taken_and_said() -> None:
    for name, length in (("OwnLimit", 25), ("CutAfterTen", 10), ("NotBegunYet", 20)):
        assert ref(name).episode_length() == ref(name).make_vector(1).horizon == length  # type: ignore[attr-defined]
        assert f"after {length} steps at the latest, the limit that the environment itself has" in (
            ref(name).about_episodes()
        )


def test_a_class_that_was_registered_as_it_is_can_be_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Local(environments.Odd):
        """Nowhere that it could be imported from."""

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            observation, info = super().reset(seed=seed)
            return observation, info

    monkeypatch.setitem(gym.registry, "Local-v0", EnvSpec("Local-v0", entry_point=Local, max_episode_steps=20))
    report = check_environment("Local-v0")
    assert "survives_the_spec_round_trip" in report.skipped and "is_deterministic" in report.passed


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Any]:
    def run(name: str, *arguments: str) -> tuple[int, str]:
        words = ["--run-dir", str(tmp_path / "run"), "--env", f"{PLACE}/{name}-v0", *TINY, *arguments]
        try:
            status = train.main(words)
        except SystemExit as end:
            status = int(end.code or 0)
        captured = capsys.readouterr()
        return status, " ".join((captured.out + captured.err).split())

    yield run


def test_the_command_says_how_to_go_on_after_a_fault(said: Any, tmp_path: Path) -> None:
    status, text = said("Explodes")
    assert status == 2 and "Traceback" not in text
    assert "Explodes-v0 raised RuntimeError in step() of copy 0, step 30: physics exploded (environments.py:" in text
    assert f"Mend that, and go on with python -m scripts.train --run-dir {tmp_path / 'run'} --resume" in text


def test_a_run_stays_in_its_folder_where_the_environment_changes_the_working_directory(
    said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, text = said("MovesAway", "--run-dir", "here")
    assert status == 0, text
    assert (tmp_path / "here" / "report.html").is_file() and (tmp_path / "here" / "feedback.db").is_file()


@pytest.mark.parametrize(
    "name", ["Any", "Terms", "ConstantReward", "DictWithText", "MaskParts", "StackedGray", "ManyChannels"]
)
def test_a_trained_run_ends_with_its_report(said: Any, tmp_path: Path, name: str) -> None:
    # Of so few steps not every round finds a pair that is worth asking about.
    status, text = said(name, "--answers", "16")
    assert status == 0 and "Report: " in text
    assert (tmp_path / "run" / "report.html").is_file() and (tmp_path / "run" / "policy.zip").is_file()
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["true_return_mean"] is not None
    constant = [CORRELATION] if name == "ConstantReward" else []
    assert list(metrics.get("not_measured", {})) == constant
    if constant:
        said_of_ties = f"All {metrics['answers']} answers are ties or skips, so there is nothing to learn from them."
        assert said_of_ties in text and said_of_ties in (tmp_path / "run" / "report.html").read_text()
        assert "longer clips (--clip-seconds, or --segment-length, now " in text
    assert ("(action_masks), which ppo does not ask; --learner maskable-ppo does." in text) == (name == "MaskParts")
    if name == "DictWithText":
        assert "The part 'mission' of the observations is text, and is left out." in text


def test_what_cannot_be_measured_at_the_end_is_left_out_and_said(
    said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise EnvironmentFault("odd/Usual-v0 raised RuntimeError in step(), step 3: no licence (mine.py:3).")

    for name in ("agents.train.evaluate", "rlhf_envs.evaluation.reward_model.reward_correlation"):
        monkeypatch.setattr(name, broken)
    status, text = said("Usual")
    assert status == 0 and "The policy's return is missing: odd/Usual-v0 raised RuntimeError" in text
    report = (tmp_path / "run" / "report.html").read_text()
    assert "return is missing: odd/Usual-v0 raised" in report and "no licence (mine.py:3)" in report
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert set(metrics["not_measured"]) == {"the policy's return", CORRELATION}


@pytest.mark.parametrize("on_termination", ["terminate", "restart"])
def test_a_time_limit_inside_is_noticed_and_said(on_termination: str) -> None:
    said: list[str] = []
    wanted = ref("CutAfterTen", horizon=30, on_termination=on_termination)
    venv = make_vec_env(wanted, 2)
    model = PPO("MlpPolicy", venv, n_steps=32, batch_size=64, n_epochs=1, device="cpu")
    model.learn(64, callback=EarlyEndCallback(wanted, venv.horizon, said.append))
    venv.close()
    assert "CutAfterTen-v0 itself cuts its episodes after 10 steps, before the horizon of 30" in said[0]
    assert "--horizon 10 makes that the horizon" in said[0] and len(said) == 1
