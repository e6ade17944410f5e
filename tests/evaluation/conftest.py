"""A small finished run whose policy can meet others."""

import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from agents.configuration import RunConfig
from agents.presets import PPOConfig
from agents.run_directory import RunDirectory
from agents.training import train
from rlhf_envs.loop import FeedbackConfig

CONFIG = RunConfig(
    env="rlhf/Driving-v0",
    env_kwargs={"horizon": 60},
    timesteps=512,
    labels=FeedbackConfig(comparisons=10, test_comparisons=4, segment_length=8),
    ppo=PPOConfig(num_envs=8, n_steps=32, batch_size=256, n_epochs=1),
    evaluation_episodes=2,
)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = RunDirectory(tmp_path_factory.mktemp("runs") / "trained")
    directory.create(CONFIG)
    train(CONFIG, directory, Console(file=io.StringIO()), report=False)
    return directory.path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """The run in a folder of this test's own."""
    return Path(shutil.copytree(finished, tmp_path / "trained"))
