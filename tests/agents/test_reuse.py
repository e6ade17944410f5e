"""A finished reward model trains another policy, another algorithm, and begins another run."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlhf_envs.clips import clip_painter
from rlhf_envs.feedback import PreferenceStore
from rlhf_envs.queries import Purpose
from rlhf_envs.runs import RunDirectory
from scripts import train
from tests.agents.test_resuming import policy
from tests.trainer import Trainer

SMALL = [
    *("--timesteps", "256", "--segment-length", "5", "--held-out-share", "0.25", "--evaluation-episodes", "2"),
    *("--ensemble.hidden", "8", "--ensemble.members", "2", "--fit.steps", "10", "--visit-every", "1"),
]
PPO = ["--learner.num-envs", "4", "--learner.n-steps", "16", "--learner.batch-size", "64", "--learner.n-epochs", "1"]
SAC = ["--learner", "sac", "--learner.batch-size", "16", "--learner.net-arch", "8", "--timesteps", "150"]
REST = ["--evaluation-episodes", "2", "--visit-every", "20"]

pytestmark = pytest.mark.slow


def run(path: Path, *words: str) -> dict[str, Any]:
    assert train.main(["--run-dir", str(path), *words]) == 0
    found: dict[str, Any] = json.loads((path / "metrics.json").read_text())
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of PPO on Pendulum, with 12 answers."""
    path = tmp_path_factory.mktemp("finished") / "run"
    run(path, "--env", "Pendulum-v1", "--answers", "12", *SMALL, *PPO)
    yield path


def same_reward(one: Path, other: Path) -> bool:
    models = [RunDirectory(path).load_reward_model() for path in (one, other)]
    rng = np.random.default_rng(0)
    observations, actions = rng.uniform(-1, 1, (20, 3)).astype(np.float32), rng.uniform(-1, 1, (20, 1)).astype("f4")
    rewards = [model.reward(observations, actions) for model in models if model is not None]
    return len(rewards) == 2 and np.array_equal(*rewards)


def test_another_algorithm_trains_on_a_finished_reward_model_without_questions(finished: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    metrics = run(again, "--env", "Pendulum-v1", "--reward-model", str(finished), *SAC, *REST)
    assert metrics["answers"] == metrics["labels"] == 0
    assert same_reward(finished, again)
    rows = (again / "progress.csv").read_text().splitlines()[1:]
    assert len(rows) >= 5 and all(float(row.split(",")[3]) != 0 for row in rows)
    with PreferenceStore.open(again / "feedback.db") as store:
        assert not store.queries()
    config = RunDirectory(again).read_config()
    assert config["ensemble"]["hidden"] == [8] and config["labels"]["segment_length"] == 5


def test_a_model_by_itself_will_do(finished: Path, tmp_path: Path) -> None:
    for name in ("reward_model.safetensors", "reward_model.json"):
        (tmp_path / "model").mkdir(exist_ok=True)
        shutil.copy(finished / name, tmp_path / "model" / name)
    for number, place in enumerate(("model", "model/reward_model.safetensors")):
        again = tmp_path / f"again{number}"
        run(again, "--env", "Pendulum-v1", "--reward-model", str(tmp_path / place), *SAC, *REST)
        assert same_reward(finished, again)


def test_a_run_that_asks_on_learns_from_the_answers_before_as_well(finished: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    metrics = run(
        *(again, "--env", "Pendulum-v1", "--reward-model", str(finished), "--answers", "8", *SMALL[2:6], *PPO),
        *("--timesteps", "256", "--evaluation-episodes", "2", "--visit-every", "1"),
    )
    with PreferenceStore.open(finished / "feedback.db") as before, PreferenceStore.open(again / "feedback.db") as store:
        old, new = ({query.key for query in each.queries()} for each in (before, store))
        assert old < new and len(new - old) == 8
        assert store.counts()[Purpose.TRAIN].open == 0
    assert metrics["answers"] == 8 and metrics["labels"] == 9 + 6
    assert not same_reward(finished, again)


def test_a_killed_run_goes_on_with_its_own_copy(finished: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(finished, source)
    words = ["--env", "Pendulum-v1", *SMALL[2:6], *PPO, "--answers", "8", "--timesteps", "256"]
    words += ["--evaluation-episodes", "2", "--visit-every", "1", "--checkpoint-seconds", "0"]
    undisturbed = tmp_path / "undisturbed"
    run(undisturbed, "--reward-model", str(source), *words)
    killed = tmp_path / "killed"
    with Trainer() as trainer:
        first = ["--run-dir", str(killed), "--reward-model", str(source), *words]
        trainer.run(first, tmp_path / "said.txt", ("stable_baselines3.PPO.train", 2, "after"), report=False)
        shutil.rmtree(source)
        assert trainer.run(["--run-dir", str(killed), "--resume"], tmp_path / "said.txt", report=False) == 0
    assert same_reward(killed, undisturbed)
    runs = []
    for path in (killed, undisturbed):
        runs.append(type("Run", (), {"path": path}))
    ours, theirs = (policy(each) for each in runs)  # type: ignore[arg-type]
    assert all(ours[name].equal(theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    "words, said",
    [
        (["--env", "CartPole-v1"], "The reward model was learned for the observation space Box"),
        (["--env", "Pendulum-v1", "--reward", "true"], "--reward-model brings the reward; leave --reward true out"),
        (["--env", "Pendulum-v1", "--ensemble.members", "5"], "--reward-model brings its own ensemble"),
        (["--env", "Pendulum-v1", "--horizon", "50", "--answers", "8"], "are not about Pendulum-v1 with these"),
        (["--env", "Pendulum-v1", "--answers", "8", "--segment-length", "7"], "segments of 5 steps"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_made(
    words: list[str], said: str, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train.main(["--run-dir", str(tmp_path / "run"), "--reward-model", str(finished), *words])
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


def test_a_place_without_a_model_is_refused(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pendulum = ["--run-dir", str(tmp_path / "run"), "--env", "Pendulum-v1"]
    with pytest.raises(SystemExit):
        train.main([*pendulum, "--reward-model", str(tmp_path / "nowhere")])
    assert "There is no reward model at" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train.main([*pendulum, "--reward-model", str(finished / "reward_model.safetensors"), "--answers", "5"])
    assert "without its answers, so it cannot learn on" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit):
        train.main([*pendulum, "--answers", "0"])
    assert "answers must be at least 1, not 0, where there is no --reward-model" in " ".join(
        capsys.readouterr().err.split()
    )


def test_a_run_in_a_variant_asks_on_and_shows_the_answers_before_as_they_were(tmp_path: Path) -> None:
    meadow, gorge = tmp_path / "meadow", tmp_path / "gorge"
    run(meadow, "--env", "rlhf/Headset-v1", "--answers", "8", *SMALL, *PPO)
    words = ["--env", "rlhf/Headset-v1", "--env-kwargs", '{"scene": "gorge"}', "--answers", "6"]
    metrics = run(gorge, *words, "--reward-model", str(meadow), *SMALL[:2], *SMALL[6:8], *PPO)
    assert metrics["answers"] == 6 and metrics["labels"] > 6
    with PreferenceStore.open(meadow / "feedback.db") as before, PreferenceStore.open(gorge / "feedback.db") as store:
        assert store.environment.ref == RunDirectory(gorge).read_environment() != before.environment.ref
        old = {query.key: query for query in before.queries()}
        asked = store.queries()
        painters = [clip_painter(each.environment.ref or "") for each in (before, store)]
        for query in asked:
            for place, segment in enumerate(query.segments):
                if query.key not in old:
                    assert segment.states is not None
                else:
                    shown = painters[0].frames(old[query.key].segments[place])
                    assert np.array_equal(painters[1].frames(segment), shown)
                    assert not np.array_equal(painters[1].frames(old[query.key].segments[place]), shown)
    assert len(asked) == len(old) + 6
