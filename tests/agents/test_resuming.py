"""A run that is killed, at any moment and any number of times, ends as if it had never been disturbed."""

import csv
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from stable_baselines3.common.save_util import load_from_zip_file

from rlhf_envs.feedback import PreferenceStore, Purpose
from tests.trainer import Trainer

COMPARISONS = 36
SETTINGS = {
    "rlhf/Driving-v1": ["--timesteps", "3072", "--learner.num-envs", "8", "--learner.n-steps", "32"],
    "rlhf/Recommender-v1": ["--timesteps", "2048", "--learner.num-envs", "4", "--learner.n-steps", "32"],
}
COMMON = [
    *("--answers", str(COMPARISONS), "--segment-length", "6", "--visit-every", "1"),
    *("--feedback", "boltzmann", "--checkpoint-seconds", "0", "--evaluation-episodes", "2"),
    *(
        "--learner.batch-size",
        "128",
        "--learner.n-epochs",
        "2",
        "--learner.net-arch",
        "16",
        "16",
        "--ensemble.hidden",
        "16",
    ),
    *("--env-kwargs", '{"horizon": 24}'),
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trainer() -> Iterator[Trainer]:
    with Trainer() as started:
        yield started


class Run:
    """A run directory, and what its processes said."""

    def __init__(self, trainer: Trainer, folder: Path, env: str = "rlhf/Driving-v1", *more: str) -> None:
        self.trainer, self.path, self.output = trainer, folder / "run", folder / "said.txt"
        self.first = ["--run-dir", str(self.path), "--env", env, *SETTINGS[env], *COMMON, *more]

    @property
    def arguments(self) -> list[str]:
        """What to call: the first command, and once there is a run to go on with, the one that goes on."""
        begun = (self.path / "config.json").exists()
        return ["--run-dir", str(self.path), "--resume"] if begun else self.first

    def die(self, place: str, call: int = 1, when: str = "after") -> None:
        status = self.trainer.run(self.arguments, self.output, (place, call, when), "report" in place)
        assert status == -signal.SIGKILL, self.output.read_text()

    def die_around(self, rollouts: int, seconds: float) -> int:
        """Killed that long after so many rollouts are in progress.csv."""
        process = self.trainer.start(self.arguments, self.output, report=False)
        while rollouts > self.rollouts and os.path.exists(f"/proc/{process}"):
            time.sleep(0.002)
        time.sleep(seconds)
        self.trainer.kill()
        return self.trainer.finish()

    @property
    def rollouts(self) -> int:
        table = self.path / "progress.csv"
        return len(table.read_text().splitlines()) - 1 if table.exists() else 0

    def finish(self) -> "Run":
        assert self.trainer.run(self.arguments, self.output, report=False) == 0, self.output.read_text()
        return self


@pytest.fixture(scope="module")
def undisturbed(trainer: Trainer, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(trainer, tmp_path_factory.mktemp("undisturbed")).finish()


def answers(run: Run) -> list[tuple[str, str, tuple[str, ...]]]:
    """Key, choice and segments of every query, in the order in which they were answered."""
    with PreferenceStore.open(run.path / "feedback.db") as store:
        queries = {query.id: query for query in store.queries()}
        assert len({query.key for query in queries.values()}) == len(queries)
        return [
            (queries[live.query_id].key, str(live.choice), tuple(s.digest for s in queries[live.query_id].segments))
            for live in store.live_answers()
        ]


def progress(run: Run) -> list[tuple[str, ...]]:
    """progress.csv without the columns that say how long something took."""
    with (run.path / "progress.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    timed = {"seconds", "steps_per_second", "fit_seconds"}
    return [tuple(value for name, value in row.items() if name not in timed) for row in rows]


def policy(run: Run) -> dict[str, torch.Tensor]:
    content: dict[str, Any] = load_from_zip_file(run.path / "policy.zip", load_data=False)[1]
    tensors: dict[str, torch.Tensor] = content["policy"]
    return tensors


def assert_ended_alike(run: Run, undisturbed: Run) -> None:
    with PreferenceStore.open(run.path / "feedback.db") as store:
        counts = store.counts()
        assert counts[Purpose.TRAIN].asked + counts[Purpose.TEST].asked == COMPARISONS
        assert (counts[Purpose.TEST].asked > 0) == ("--held-out-share" in run.first)
        assert counts[Purpose.TRAIN].open == counts[Purpose.TEST].open == 0
    assert answers(run) == answers(undisturbed)
    assert progress(run) == progress(undisturbed)
    reward_models = [(each.path / "reward_model.safetensors").read_bytes() for each in (run, undisturbed)]
    assert reward_models[0] == reward_models[1]
    # The archives hold times and paths as well, so only what was learned is compared.
    ours, theirs = (policy(each) for each in (run, undisturbed))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    metrics = [json.loads((each.path / "metrics.json").read_text()) for each in (run, undisturbed)]
    for name in ("timesteps", "comparisons", "labels", "true_return_mean", "test_accuracy", "reward_correlation"):
        assert metrics[0][name] == metrics[1][name], name


def test_a_run_killed_at_random_moments_ends_bit_for_bit_as_an_undisturbed_one(
    trainer: Trainer, undisturbed: Run, tmp_path: Path
) -> None:
    run, moments = Run(trainer, tmp_path), random.Random(4)
    killed = [run.die_around(rollouts, moments.uniform(0, 0.1)) for rollouts in (0, 1, 3, 4, 7, 10)]
    assert killed.count(-signal.SIGKILL) >= 5
    assert_ended_alike(run.finish(), undisturbed)


@pytest.mark.parametrize(
    "places",
    [
        [
            ("rlhf_envs.feedback.PreferenceStore.create", 1, "after"),
            ("rlhf_envs.feedback.PreferenceStore.ask", 1, "before"),
            ("rlhf_envs.feedback.PreferenceStore.ask", 1, "after"),
            ("rlhf_envs.feedback.PreferenceStore.take_many", 3, "after"),
            ("rlhf_envs.feedback.PreferenceStore.answer_many", 2, "after"),
            ("rlhf_envs.loop.feedback_loop.fit_reward", 2, "after"),
        ],
        [
            ("os.replace", 1, "before"),  # config.json
            ("os.replace", 5, "before"),  # the first checkpoint
            ("agents.checkpoint.save_file", 3, "before"),
            ("shutil.rmtree", 2, "before"),
            ("stable_baselines3.PPO.save", 1, "before"),
            ("agents.train._metrics", 1, "after"),
            ("agents.train.write_report", 1, "before"),
        ],
    ],
    ids=["around the store", "around the files"],
)
def test_a_run_killed_at_tender_points_ends_as_an_undisturbed_one(
    trainer: Trainer, undisturbed: Run, tmp_path: Path, places: list[tuple[str, int, str]]
) -> None:
    run = Run(trainer, tmp_path)
    for place in places:
        run.die(*place)
    assert_ended_alike(run.finish(), undisturbed)


def test_a_run_that_goes_back_over_several_rounds_asks_nothing_twice(
    trainer: Trainer, undisturbed: Run, tmp_path: Path
) -> None:
    # Only one checkpoint, at the very beginning: all that was asked and answered lies behind it.
    run = Run(trainer, tmp_path, "rlhf/Driving-v1", "--checkpoint-seconds", "1000")
    run.die("rlhf_envs.feedback.PreferenceStore.answer_many", 5)
    before = answers(run)
    run.finish()
    assert answers(run)[: len(before)] == before
    assert_ended_alike(run, undisturbed)


def test_every_answer_that_was_there_at_the_kill_is_there_at_the_end(trainer: Trainer, tmp_path: Path) -> None:
    run, seen = Run(trainer, tmp_path), []
    for call in (1, 2, 2):
        run.die("rlhf_envs.feedback.PreferenceStore.answer_many", call)
        seen.append(answers(run))
    at_the_end = answers(run.finish())
    assert len(seen[0]) < len(seen[-1])
    assert all(at_the_end[: len(known)] == known for known in seen)


@pytest.mark.parametrize(
    "env, more",
    [
        ("rlhf/Recommender-v1", ("--held-out-share", "0.17")),
        ("rlhf/Driving-v1", ("--pretrain", "4")),
        ("rlhf/Driving-v1", ("--pretrain", "4", "--kl-coef", "0.1", "--kl-target", "0.01")),
        ("rlhf/Driving-v1", ("--reward", "true", "--pretrain", "4", "--kl-coef", "0.1")),
        ("rlhf/Driving-v1", ("--reward", "true")),
        ("rlhf/Driving-v1", ("--learner.use-sde",)),
        ("rlhf/Driving-v1", ("--patience", "1", "--timesteps", "6144")),
        ("rlhf/Driving-v1", ("--variant", '{"traffic": "dense"}', "--selection", "information")),
    ],
)
def test_every_kind_of_run_can_be_killed(trainer: Trainer, tmp_path: Path, env: str, more: tuple[str, ...]) -> None:
    runs = [Run(trainer, folder, env, *more) for folder in (tmp_path / "killed", tmp_path / "undisturbed")]
    for run in runs:
        run.output.parent.mkdir()
    runs[1].finish()
    runs[0].die("agents.checkpoint.Checkpoints.save", 3)
    runs[0].die("stable_baselines3.PPO.train", 2)
    runs[0].finish()
    if "true" in more:
        assert progress(runs[0]) == progress(runs[1])
        assert not (runs[0].path / "feedback.db").exists()
    else:
        assert_ended_alike(*runs)


def test_a_second_policy_that_is_killed_ends_as_an_undisturbed_one(trainer: Trainer, tmp_path: Path) -> None:
    runs = []
    for name in ("undisturbed", "killed"):
        (tmp_path / name).mkdir()
        runs.append(Run(trainer, tmp_path / name, "rlhf/Recommender-v1", "--fresh-policy", "always"))
    whole, run = runs[0].finish(), runs[1]
    # 16 rollouts are learned from in each of the two trainings.
    run.die("agents.train.train_afresh", 1, "before")
    run.die("stable_baselines3.PPO.train", 7)
    run.die("stable_baselines3.PPO.train", 4)
    run.die("agents.train.choose_policy", 1, "after")
    assert_ended_alike(run.finish(), whole)
    chosen = [json.loads((each.path / "metrics.json").read_text())["fresh_policy"] for each in (run, whole)]
    assert [{**one, "wall_seconds": 0} for one in chosen] == [{**chosen[0], "wall_seconds": 0}] * 2
