"""The commands that look at a run: watch it, live or as a film, and judge it."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pygame
import pytest
from numpy.typing import NDArray
from rich.console import Console

from agents.config import RunConfig, RunOptions
from agents.train import train
from rlhf_envs.cli import evaluate, judge, one_sentence_errors, watch
from rlhf_envs.cli.watch import LiveView
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.envs.canvas import Canvas
from rlhf_envs.envs.palette import Color
from rlhf_envs.evaluation.policies import RandomPolicy, ScriptedPolicy
from rlhf_envs.learners.on_policy import PPOConfig
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.report.film import EpisodeRenderer, StripChart, Trace
from rlhf_envs.runs import RunDirectory, read_json, write_json

ENVIRONMENT = EnvironmentRef("rlhf/Recommender-v1", {"horizon": 12})
CONFIG = RunConfig(
    ENVIRONMENT,
    timesteps=128,
    labels=FeedbackConfig(answers=6, held_out_share=1 / 3, segment_length=4),
    learner_settings=PPOConfig(num_envs=4, n_steps=32, batch_size=128, n_epochs=1),
    run=RunOptions(evaluation_episodes=2),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    directory = RunDirectory(tmp_path_factory.mktemp("runs") / "recommender")
    directory.create(CONFIG.to_json())
    train(CONFIG, directory, Console(file=io.StringIO()))
    return directory


def decoded(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as film:
        return [frame.to_ndarray(format="rgb24").astype(np.uint8) for frame in film.decode(video=0)]


def refused(capsys: pytest.CaptureFixture[str], command: object, *arguments: str) -> str:
    """What a command says when it refuses its input; it must be one line and no traceback."""
    with pytest.raises(SystemExit) as stopped:
        command(list(arguments))  # type: ignore[operator]
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("Error: ") and said.count("\n") == 1
    return said


def test_a_run_is_filmed_with_its_learned_reward_and_terms_below(run: RunDirectory, tmp_path: Path) -> None:
    assert watch.main(["--run-dir", str(run.path), "--film", str(tmp_path / "run.mp4")]) == 0
    assert watch.main(["--env", ENVIRONMENT.id, "--film", str(tmp_path / "env.mp4"), "--policy", "expert"]) == 0
    own, plain = decoded(tmp_path / "run.mp4"), decoded(tmp_path / "env.mp4")
    assert 12 <= len(own) <= 20
    assert 60 <= len(plain) <= 68
    assert own[0].shape == plain[0].shape
    # The learned reward is drawn in the palette's blue, where the expert's film has grey only.
    graph = (slice(410, 465), slice(130, 520))
    blueness = [(frames[11][graph].astype(int) @ [-1, 0, 1]).max() for frames in (own, plain)]
    assert blueness[0] > 60 > blueness[1]


def test_two_episodes_make_a_film_of_twice_the_length(tmp_path: Path) -> None:
    path = tmp_path / "two.mp4"
    watch.main(["--env", "rlhf/Recommender-v1", "--film", str(path), "--episodes", "2"])
    assert 120 <= len(decoded(path)) <= 128


def test_a_fast_environment_is_filmed_at_its_own_pace_with_fewer_frames(tmp_path: Path) -> None:
    path = tmp_path / "pendulum.mp4"
    watch.main(["--env", "Pendulum-v1", "--film", str(path)])
    with av.open(str(path)) as film:
        rate = film.streams.video[0].average_rate
        assert rate is not None and film.duration is not None
        assert float(rate) <= 20
        # 200 steps at 30 a second, and the last frame held for a moment.
        assert 6.6 < film.duration / av.time_base < 7.5


def test_the_picture_on_film_is_that_of_the_step_whose_reward_is_drawn() -> None:
    renderer = EpisodeRenderer(EnvironmentRef("rlhf/Driving-v1", {"horizon": 5}))
    frames = list(renderer.frames(ScriptedPolicy("expert"), seed=3))
    renderer.close()
    assert len(frames) == 5
    assert all(not np.array_equal(one, other) for one, other in pairwise(frames))


def test_a_film_of_an_episode_that_ends_early_says_at_its_end_that_it_is_over() -> None:
    with closing(EpisodeRenderer("CartPole-v1", width=300)) as renderer:
        frames = list(renderer.frames(RandomPolicy(0), seed=3))
        held = round(0.6 * renderer.frames_per_second)
    picture = [frame[:200].astype(int) for frame in frames]
    alive, over = picture[:-held], picture[-held:]
    assert 5 < len(alive) < 100 and all(np.array_equal(one, over[0]) for one in over)
    # Only dimmed pictures have no pixel that is as white as CartPole's ground.
    assert all((one[70:] == 255).any() for one in alive) and not (over[0][70:] == 255).any()
    with closing(EpisodeRenderer(EnvironmentRef("CartPole-v1", horizon=5), width=300)) as renderer:
        assert len(list(renderer.frames(RandomPolicy(0), seed=3))) == 5


def test_filming_leaves_an_open_window_open() -> None:
    pygame.display.init()
    for environment_id in ("Pendulum-v1", "CartPole-v1"):
        renderer = EpisodeRenderer(environment_id)
        next(renderer.frames(RandomPolicy()))
        renderer.close()
        assert pygame.display.get_init()
    pygame.display.quit()


def test_a_term_that_appears_late_was_nothing_before() -> None:
    trace = Trace()
    trace.add(1.0, {"progress": 1.0})
    trace.add(0.5, {"progress": 1.0, "crash": -0.5})
    trace.add(1.0, {})
    assert trace.terms == {"progress": [1.0, 1.0, 0.0], "crash": [0.0, -0.5, 0.0]}


@pytest.mark.parametrize("learned", [True, False])
def test_a_graph_of_two_rewards_says_that_each_has_its_own_scale(
    learned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = Trace()
    for step in range(5):
        trace.add(0.1 * step, {"progress": 0.1 * step}, *((2.0 * step, 0.5) if learned else ()))
    chart = StripChart(10, ["progress"], learned)
    canvas = Canvas(600, 400 + chart.height)
    written: dict[str, tuple[float, float]] = {}
    write = canvas.text

    def remember(x: float, y: float, text: str, color: Color, **style: Any) -> None:
        written[text] = (y, x + canvas.text_width(text, style["size"]))
        write(x, y, text, color, **style)

    monkeypatch.setattr(canvas, "text", remember)
    chart.draw(canvas, 400, trace)
    assert ("each to its own scale" in written) == ("learned reward" in written) == learned
    if learned:
        y, right = written["each to its own scale"]
        # Below the two that it speaks of, and left of the graph.
        assert y > max(written["learned reward"][0], written["true reward"][0])
        assert right <= 124
        assert written["spread"][0] < written["progress"][0] - 15


def press(key: int) -> None:
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))


def test_escape_ends_the_live_view_and_space_and_arrow_step_through_it() -> None:
    view = LiveView("test", 500)
    shown: list[bool] = []

    def frames() -> Iterator[NDArray[np.uint8]]:
        for step in range(100):
            shown.append(view.paused)
            if step == 2:
                press(pygame.K_SPACE)
                press(pygame.K_RIGHT)
            elif step == 3:
                press(pygame.K_RIGHT)
            elif step == 4:
                press(pygame.K_SPACE)
            elif step == 6:
                press(pygame.K_ESCAPE)
            yield np.zeros((50, 80, 3), dtype=np.uint8)

    assert not view.play(frames())
    view.close()
    assert shown == [False, False, False, True, True, False, False]


def test_closing_the_window_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[int] = []

    def close_at_third(view: LiveView, frames: Iterator[NDArray[np.uint8]]) -> bool:
        for number, _ in enumerate(frames):
            played.append(number)
            if number == 2:
                return False
        return True

    monkeypatch.setattr(LiveView, "play", close_at_third)
    assert watch.main(["--env", "rlhf/Driving-v1", "--policy", "proxy", "--episodes", "3"]) == 0
    assert played == [0, 1, 2]


def evaluation(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, list[str]], str]:
    """The cells of the table by policy, and all that was printed."""
    assert evaluate.main(["--evaluation-episodes", "6", *arguments]) == 0
    said = capsys.readouterr().out
    rows = [line.split("│")[1:-1] for line in said.splitlines() if line.startswith("│")]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows if row[0].strip()}, said


def test_a_run_is_judged_beside_others(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    against = ["random", "idle", "expert", "proxy", str(run.path)]
    rows, said = evaluation(capsys, "--run-dir", str(run.path), "--against", *against)
    for column in ("true return", "95% interval", "normalised", "proxy"):
        assert column in said
    best = max(("random", "idle", "proxy"), key=lambda name: float(rows[name][0]))
    assert rows[best][3] == "0%" and rows["expert"][3] == "100%"
    assert f"0% is {best}, {rows[best][0]}; 100% is expert, {rows['expert'][0]}." in " ".join(said.split())


def test_a_run_on_the_true_reward_is_the_reference_and_one_on_the_proxy_may_be_the_zero(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, reward in (("paid-truly", "true"), ("gaming", "proxy")):
        shutil.copytree(run.path, name)
        settings = read_json(Path(name) / "config.json")
        settings["config"]["reward"] = reward
        write_json(Path(name) / "config.json", settings)
    arguments = ["--run-dir", str(run.path), "--env-kwargs", '{"tiring": 0.0}', "--against"]
    rows, said = evaluation(capsys, *arguments, "random", "idle", "proxy", "gaming", "expert")
    zero = max(("random", "idle", "proxy", "gaming"), key=lambda name: float(rows[name][0]))
    assert f"0% is {zero}, " in said and "100% is expert, " in said
    rows, said = evaluation(capsys, *arguments, "gaming", "paid-truly", "expert")
    assert f"100% is paid-truly, {rows['paid-truly'][0]}." in " ".join(said.split())


def test_a_run_is_judged_where_things_go_otherwise(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--run-dir", str(run.path), "--evaluation-episodes", "20", "--against", "expert", "--env-kwargs"]
    expert = []
    for tiring in ("0.0", "2.0"):
        assert evaluate.main([*arguments, f'{{"tiring": {tiring}}}']) == 0
        said = capsys.readouterr().out
        assert f"tiring={tiring}" in said
        row = next(line for line in said.splitlines() if line.startswith("│ expert"))
        expert.append(float(row.split("│")[2]))
    assert expert[0] > expert[1]
    assert "is not" not in refused(capsys, evaluate.main, *arguments, '{"tiring": -1}')
    assert "the policy knows" in refused(capsys, evaluate.main, *arguments, '{"topics": 5}')
    assert "does not take these arguments" in refused(capsys, evaluate.main, *arguments, '{"topic": 5}')


def test_bad_input_is_refused_in_one_sentence(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(run.path)
    assert "either --run-dir" in refused(capsys, watch.main)
    assert "either --run-dir" in refused(capsys, watch.main, "--run-dir", path, "--env", ENVIRONMENT.id)
    assert "holds no run" in refused(capsys, watch.main, "--run-dir", str(tmp_path))
    assert "Did you mean rlhf/Driving-v1" in refused(capsys, watch.main, "--env", "rlhf/Drivng-v0")
    assert "there is no folder" in refused(
        capsys, watch.main, "--env", ENVIRONMENT.id, "--film", str(tmp_path / "no/x.mp4")
    )
    film = tmp_path / "driving.gif"
    assert "must end in .mp4" in refused(capsys, watch.main, "--env", ENVIRONMENT.id, "--film", str(film))
    assert not film.exists()
    assert "brings no scripted expert" in refused(capsys, watch.main, "--env", "CartPole-v1", "--policy", "expert")
    assert "holds no run" in refused(capsys, evaluate.main, "--run-dir", path, "--against", str(tmp_path))
    nobody = refused(capsys, evaluate.main, "--run-dir", path, "--against", "nobody")
    assert "nobody holds no run" in nobody and "none of random, idle, expert, proxy either" in nobody
    assert "At least 1 episode" in refused(capsys, evaluate.main, "--run-dir", path, "--evaluation-episodes", "0")
    other = RunDirectory(tmp_path / "other")
    other.create(RunConfig(EnvironmentRef("CartPole-v1")).to_json())
    assert "only runs of one task" in refused(capsys, evaluate.main, "--run-dir", path, "--against", str(other.path))


def test_a_run_that_has_learned_a_reward_only_says_that_it_has_no_policy(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reward = RunDirectory(tmp_path / "reward")
    reward.create(RunConfig(offline=str(run.store_path), feedback="elsewhere").to_json())
    it, other = str(reward.path), str(run.path)
    for command, arguments in (
        (watch.main, ["--run-dir", it, "--film", str(tmp_path / "film.mp4")]),
        (watch.main, ["--run-dir", it, "--film", str(tmp_path / "film.mp4"), "--policy", "random"]),
        (evaluate.main, ["--run-dir", it]),
        (evaluate.main, ["--run-dir", other, "--against", it]),
        (judge.main, ["--run-dir", it, "--against", other, "--feedback", "oracle"]),
        (judge.main, ["--run-dir", other, "--against", it, "--feedback", "oracle"]),
    ):
        assert "has learned a reward only and has no policy" in refused(capsys, command, *arguments)


def test_a_mistake_in_the_program_keeps_its_traceback() -> None:
    with pytest.raises(TypeError, match="a mistake"), one_sentence_errors():
        raise TypeError("a mistake")


def test_a_sentence_on_several_lines_is_told_on_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), one_sentence_errors():
        raise ValueError("first\n  second")
    assert capsys.readouterr().err == "Error: first second\n"
