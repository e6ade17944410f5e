"""Scripted teachers that judge by regret or by value."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rich.console import Console

from agents.config import RunConfig, RunOptions, TeacherChanges
from agents.train import train
from rlhf_envs.cli import judge, label
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.feedback import ANNOTATORS, Choice, ScriptedTeacher, make_annotator
from rlhf_envs.kinds import Judgement, TeacherConfig
from rlhf_envs.learners.on_policy import PPOConfig
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.queries import Query
from rlhf_envs.runs import RunDirectory, load_critic
from rlhf_envs.segments import Segment
from scripts.train import main

SMALL = PPOConfig(num_envs=2, n_steps=32, batch_size=64, n_epochs=1, net_arch=(8,))
CARTPOLE = EnvironmentRef("CartPole-v1", horizon=100)


class FirstNumber:
    """Values are the first number of an observation."""

    gamma = 0.5

    def values(self, observations: Any) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.asarray(observations, dtype=np.float64)[:, 0]
        return found


def segment(values: list[float], rewards: list[float], ended: int = 0) -> Segment:
    """One whose last steps come after a termination; `values` are of the steps before."""
    length = len(rewards)
    shown = np.zeros((length, 2), np.float32)
    shown[: len(values), 0] = values
    absorbing = np.arange(length) >= length - ended if ended else None
    return Segment(shown, np.zeros(length, np.int64), np.array(rewards, np.float32), absorbing=absorbing)


def judged(by: str, *segments: Segment) -> list[float]:
    teacher = Judgement(TeacherConfig(judged_by=by), FirstNumber())  # type: ignore[arg-type]
    return teacher.returns(Query("0", 0, segments))


def test_regret_is_the_sum_of_what_each_step_loses() -> None:
    # -1 + 0.5 * 4 - 2 = -1, and -1 + 0.5 * 6 - 4 = -2; what follows the last step is not known.
    assert judged("regret", segment([2, 4, 6], [-1, -1, -1])) == [-3]
    # -1 + 0.5 * 4 - 2 = -1, and at the termination 3 + 0 - 4 = -1.
    assert judged("regret", segment([2, 4], [-1, 3, 0, 0], ended=2)) == [-2]


def test_value_is_that_of_the_last_observation_and_after_a_termination_what_that_earned() -> None:
    assert judged("value", segment([2, 4, 6], [-1, -1, -1]), segment([2, 4], [-1, 3, 0], ended=1)) == [6, 3]


def test_what_ties_by_its_sum_is_decided_by_a_critic() -> None:
    falling, rising = segment([-5, -6, -7], [-1, -1, -1]), segment([-5, -4, -3], [-1, -1, -1])
    for name in ("regret", "value"):
        query = Query("0", 0, (falling, rising), id=1)
        teacher = ScriptedTeacher(ANNOTATORS[name], name, FirstNumber())
        assert teacher.answer(query).choice is Choice.RIGHT
        assert teacher.answer(replace(query, segments=(rising, falling))).choice is Choice.LEFT
        assert ScriptedTeacher(ANNOTATORS["oracle"]).answer(query).choice is Choice.TIE


def test_teachers_without_the_critic_that_they_need_are_refused() -> None:
    with pytest.raises(ValueError, match=r"judges by regret needs the critic .* --teacher\.critic"):
        make_annotator("regret")
    with pytest.raises(ValueError, match="judges by return, regret, value, not by 'taste'"):
        TeacherConfig(judged_by="taste")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "true", reward="true")


def trained(folder: Path, **settings: Any) -> Path:
    config = RunConfig(
        **{
            "environment": CARTPOLE,
            "timesteps": 64,
            "learner_settings": SMALL,
            "labels": FeedbackConfig(answers=8, segment_length=10),
            "run": RunOptions(evaluation_episodes=2),
            **settings,
        }
    )
    directory = RunDirectory(folder)
    directory.create(config.to_json())
    train(config, directory, Console(file=io.StringIO()), report=False)
    return folder


def test_the_critic_of_a_run_gives_what_its_policy_thinks(finished: Path) -> None:
    critic, model = load_critic(finished, CARTPOLE), RunDirectory(finished).load_policy()
    observations = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    with torch.no_grad():
        expected = model.policy.predict_values(torch.from_numpy(observations)).numpy()[:, 0]  # type: ignore[operator]
    np.testing.assert_allclose(critic.values(observations), expected, rtol=1e-6)
    assert critic.gamma == SMALL.gamma


def test_the_critic_speaks_of_rewards_and_observations_as_the_environment_gives_them(tmp_path: Path) -> None:
    settings = replace(SMALL, normalize_observations=True, normalize_rewards=True)
    folder = trained(tmp_path / "normalised", reward="true", learner_settings=settings)
    critic, model = load_critic(folder, CARTPOLE), RunDirectory(folder).load_policy()
    normaliser = model.get_vec_normalize_env()
    assert normaliser is not None
    observations = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    with torch.no_grad():
        seen = torch.from_numpy(np.asarray(normaliser.normalize_obs(observations), np.float32))
        expected = model.policy.predict_values(seen).numpy()[:, 0]  # type: ignore[operator]
    scale = np.sqrt(normaliser.ret_rms.var + 1e-8)
    assert abs(scale - 1) > 0.1
    np.testing.assert_allclose(critic.values(observations), scale * expected, rtol=1e-5)


def test_a_run_learns_from_a_teacher_that_judges_by_regret(finished: Path, tmp_path: Path) -> None:
    folder = trained(tmp_path / "run", feedback="regret", teacher=TeacherChanges(critic=str(finished)))
    with RunDirectory(folder).open_store() as store:
        choices = [live.choice for live in store.live_answers()]
    assert choices and Choice.TIE not in choices


@pytest.mark.parametrize(
    ("flags", "refusal"),
    [
        (["--feedback", "regret"], "name the folder of a finished run of the same environment"),
        (["--feedback", "oracle", "--teacher.critic", "{finished}"], "judges by no critic; leave --teacher.critic out"),
        (["--feedback", "value", "--teacher.critic", "nowhere"], "nowhere holds no run"),
        (
            ["--feedback", "value", "--teacher.critic", "{finished}", "--env", "Acrobot-v1"],
            "cannot value what happens in",
        ),
    ],
)
def test_a_critic_that_does_not_fit_is_refused_in_one_sentence(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], refusal: str
) -> None:
    words = ["--env", "CartPole-v1", *(flag.format(finished=finished) for flag in flags)]
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--run-dir", str(tmp_path / "run")])
    assert stopped.value.code != 0
    assert refusal in " ".join(capsys.readouterr().err.split())


def test_the_critic_of_a_run_on_a_learned_reward_is_refused(tmp_path: Path) -> None:
    folder = trained(tmp_path / "learned")
    with pytest.raises(
        ValueError, match="was trained on the learned reward; a critic is wanted of one with --reward t"
    ):
        load_critic(folder, CARTPOLE)


def test_a_learner_without_a_critic_of_states_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "dqn"
    config = RunConfig(CARTPOLE, reward="true", learner="dqn", timesteps=64, run=RunOptions(evaluation_episodes=2))
    directory = RunDirectory(folder)
    directory.create(config.to_json())
    train(config, directory, Console(file=io.StringIO()), report=False)
    with pytest.raises(
        ValueError, match=r"The learner dqn of the run in .* has no critic that values single observations"
    ):
        load_critic(folder, CARTPOLE)


def test_an_annotator_gets_a_critic_only_if_it_judges_by_one() -> None:
    assert isinstance(make_annotator("regret", FirstNumber()), ScriptedTeacher)
    with pytest.raises(ValueError, match="oracle judges by no critic; leave it out"):
        make_annotator("oracle", FirstNumber())


def test_the_commands_that_judge_and_label_take_the_critic_of_a_run(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learned = trained(tmp_path / "learned")
    by_regret = ["--feedback", "regret", "--teacher.critic", str(finished)]
    assert judge.main(["--run-dir", str(learned), "--comparisons", "2", *by_regret]) == 0
    assert (learned / "judgement.html").is_file()
    assert label.main(["--run-dir", str(learned), "--until-finished", *by_regret]) == 0
    for command, words, refusal in (
        (judge, ["--feedback", "regret"], "name its folder with --teacher.critic"),
        (label, ["--feedback", "value"], "name its folder with --teacher.critic"),
        (label, ["--feedback", "web", "--teacher.critic", str(finished)], "people judge without"),
        (judge, ["--feedback", "oracle", "--teacher.critic", str(finished)], "oracle judges by no critic"),
    ):
        with pytest.raises(SystemExit):
            command.main(["--run-dir", str(learned), *words])
        assert refusal in " ".join(capsys.readouterr().err.split())
