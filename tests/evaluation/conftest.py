"""A small finished run whose policy can meet others."""

import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from agents.config import RunConfig, RunOptions
from agents.train import train
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.learners.on_policy import PPOConfig
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.runs import RunDirectory

CONFIG = RunConfig(
    EnvironmentRef("rlhf/Driving-v1", {"horizon": 60}),
    timesteps=512,
    labels=FeedbackConfig(answers=14, held_out_share=2 / 7, segment_length=8),
    learner_settings=PPOConfig(num_envs=8, n_steps=32, batch_size=256, n_epochs=1),
    run=RunOptions(evaluation_episodes=2),
)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = RunDirectory(tmp_path_factory.mktemp("runs") / "trained")
    directory.create(CONFIG.to_json())
    train(CONFIG, directory, Console(file=io.StringIO()), report=False)
    return directory.path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """The run in a folder of this test's own."""
    return Path(shutil.copytree(finished, tmp_path / "trained"))
