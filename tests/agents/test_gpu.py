"""Policy and reward model on a GPU. Where there is none, these tests are skipped, and say so."""

from pathlib import Path

import pytest
import torch

from agents.config import RunConfig, RunOptions
from agents.train import build
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.runs import RunDirectory
from scripts import train
from tests.sb3 import environments

environments.register()

WALK = "tests.sb3.environments:test/Walk-v0"
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU on this machine.")


@needs_gpu
def test_a_policy_is_built_on_the_gpu() -> None:
    config = RunConfig(EnvironmentRef(WALK, {"kind": "image"}), run=RunOptions(device="cuda")).settled()
    env, model = build(config)
    env.close()
    assert {parameter.device.type for parameter in model.policy.parameters()} == {"cuda"}


@needs_gpu
def test_a_language_model_learns_on_a_gpu_and_stays_near_what_it_was(tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    arguments = [
        *("--env", "rlhf/Prose-v0", "--run-dir", run, "--device", "cuda", "--answers", "8", "--timesteps", "256"),
        *("--kl-coef", "0.1", "--evaluation-episodes", "2", "--segment-length", "5", "--learner.num-envs", "4"),
        *("--learner.n-steps", "32", "--learner.batch-size", "64", "--fit.steps", "10", "--checkpoint-seconds", "0"),
    ]
    assert train.main(arguments) == 0
    assert train.main(["--run-dir", run, "--resume", "--timesteps", "512"]) == 0
    assert RunDirectory(run).read_metrics()["timesteps"] >= 512


@needs_gpu
@pytest.mark.filterwarnings("ignore:You are trying to run PPO on the GPU")
@pytest.mark.parametrize("kind, members", [("image", "3"), ("vector", "64")])
def test_pictures_and_large_ensembles_are_learned_on_a_gpu_and_resumed(kind: str, members: str, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    arguments = [
        *("--env", WALK, "--env-kwargs", f'{{"kind": "{kind}"}}', "--run-dir", run, "--device", "cuda"),
        *("--answers", "8", "--segment-length", "5", "--timesteps", "512", "--evaluation-episodes", "2"),
        *("--learner.num-envs", "4", "--learner.n-steps", "32", "--learner.batch-size", "64"),
        *("--ensemble.members", members, "--fit.steps", "10", "--checkpoint-seconds", "0"),
    ]
    assert train.main(arguments) == 0
    assert train.main(["--run-dir", run, "--resume", "--timesteps", "1024"]) == 0
    directory = RunDirectory(run)
    metrics = directory.read_metrics()
    assert metrics["timesteps"] >= 1024 and metrics["answers"] == 8
    model = directory.load_reward_model()
    assert model is not None and model.config.members == int(members)
