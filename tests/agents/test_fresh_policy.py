"""A second policy on the final reward: when one is trained, which of the two is kept, and what of it stays."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from stable_baselines3 import PPO

import agents.train
from agents.callbacks import RunInterrupted, StopRequest
from agents.config import RunConfig, RunOptions, read_config
from agents.fresh_policy import Choice
from agents.train import train
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.evaluation import SB3Policy, learned_return
from rlhf_envs.feedback.store.status import OWNER_REQUESTS, TRAINING
from rlhf_envs.learners.on_policy import PPOConfig
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.loop.alarm import HackingAlarm
from rlhf_envs.loop.status import StatusReporter
from rlhf_envs.rewards import EnsembleConfig, FitConfig, RewardEnsemble
from rlhf_envs.runs import RunDirectory
from rlhf_envs.sb3 import RewardModelCallback, make_vec_env

RECOMMENDER = EnvironmentRef("rlhf/Recommender-v1", {"horizon": 16})


def trained(folder: Path, fresh_policy: Any, **settings: Any) -> tuple[RunDirectory, dict[str, Any], str]:
    directory, said = RunDirectory(folder / "run"), io.StringIO()
    config = RunConfig(
        RECOMMENDER,
        timesteps=settings.pop("timesteps", 1024),
        labels=FeedbackConfig(answers=12, segment_length=4),
        ensemble=EnsembleConfig(members=2, hidden=(8,)),
        fit=FitConfig(steps=20, epochs=1),
        learner_settings=PPOConfig(num_envs=4, n_steps=16, batch_size=64, n_epochs=2, net_arch=(8,)),
        run=RunOptions(evaluation_episodes=4, fresh_policy=fresh_policy, **settings),
    )
    directory.create(config.to_json())
    return directory, train(config, directory, Console(file=said, width=500), report=False), said.getvalue()


def measured(gain: float, count: int = 100, total: int = 10_000) -> HackingAlarm:
    alarm = HackingAlarm(length=4, seed=0)
    alarm.state.measures = [[total * (place + 1) / count, gain, 1.0, 1.0] for place in range(count)]
    return alarm


def test_the_policy_that_earns_more_by_the_final_reward_is_kept(tmp_path: Path) -> None:
    directory, metrics, said = trained(tmp_path, "always")
    about = metrics["fresh_policy"]
    ensemble, kept = directory.load_reward_model(), directory.load_policy()
    assert ensemble is not None
    earned = learned_return(ensemble, SB3Policy(kept), RECOMMENDER, episodes=50)
    assert about["kept"] == ("fresh" if about["fresh"] > about["first"] else "first")
    assert earned == pytest.approx(max(about["first"], about["fresh"]), abs=1e-3)
    assert about["first"] != about["fresh"]
    assert about["about"] in said and "--fresh-policy always" in said
    assert json.loads(directory.metrics_path.read_text())["fresh_policy"] == about
    assert metrics["wall_seconds"] > about["wall_seconds"] > 0


def test_none_is_trained_where_that_is_not_wanted_or_training_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HackingAlarm, "gained", lambda alarm, total: -0.4)
    for name in ("never", "auto"):
        (tmp_path / name).mkdir()
        directory, metrics, _ = trained(tmp_path / name, name)
        # So short a training tells nothing.
        assert "fresh_policy" not in metrics and not directory.fresh_policy_path.exists()


def test_one_is_trained_where_the_first_gained_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HackingAlarm, "gained", lambda alarm, total: -0.4)
    _, metrics, said = trained(tmp_path, "auto", timesteps=20_000)
    assert "fresh_policy" in metrics
    assert "what the first does is rated 0.4 standard deviations worse than what was asked about" in said


def test_one_is_trained_after_a_whole_on_policy_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HackingAlarm, "gained", lambda alarm, total: 1.2)
    _, metrics, said = trained(tmp_path, "auto", timesteps=20_000)
    assert "fresh_policy" in metrics and "which the first has not known from the beginning" in said
    (tmp_path / "pretrained").mkdir()
    _, metrics, _ = trained(tmp_path / "pretrained", "auto", timesteps=20_000, pretrain=2)
    assert "fresh_policy" not in metrics


def test_what_a_policy_has_gained_is_told_by_the_last_tenth_of_training() -> None:
    alarm = measured(0.1)
    alarm.state.measures[:90] = [[at, 2.0, 1.0, 1.0] for at, *_ in alarm.state.measures[:90]]
    assert alarm.gained(10_000) == 0.1
    assert measured(0.1, count=20).gained(10_000) is None
    assert HackingAlarm(length=4, seed=0).gained(10_000) is None


def test_it_is_said_which_policy_is_kept_and_why() -> None:
    assert str(Choice(-14.7, 1315.0)).endswith(
        "the fresh one is kept: by the final reward it earns 1315.0 in an episode, the other -14.7."
    )
    assert str(Choice(-14.7, 1315.0, first_preferred=8, fresh_preferred=1, ties=1)).endswith(
        "the first one is kept: by the final reward it earns -14.7 in an episode, the other 1315.0. Of 10 answers to "
        "comparisons of their clips, which the reward has learned from as well, it won 8 and lost 1."
    )


def test_the_same_run_gives_the_same_second_policy(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        found.append(trained(tmp_path / name, "always")[1]["fresh_policy"])
    assert [each["fresh"] for each in found] == [found[0]["fresh"]] * 2


def test_a_finished_reward_model_pays_any_algorithm(tmp_path: Path) -> None:
    directory, _, _ = trained(tmp_path, "never")
    ensemble = directory.load_reward_model()
    assert ensemble is not None
    env = make_vec_env(RECOMMENDER, 4, seed=0)
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=64, seed=0, device="cpu")
    callback = RewardModelCallback(env, ensemble)
    model.learn(64, callback)
    transitions = env.latest_transitions(16)
    expected = ensemble.transition_reward(transitions).reshape(16, 4)
    assert np.array_equal(callback.last_scores, expected) and expected.std() > 0
    with pytest.raises(ValueError, match="has learned nothing yet"):
        RewardModelCallback(env, RewardEnsemble(env.observation_space, env.action_space))
    env.close()


def test_annotators_are_told_of_the_end_when_both_policies_are_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, bool]] = []
    report = StatusReporter.report

    def note(self: StatusReporter, state: str, *arguments: Any, **figures: Any) -> bool:
        told.append((state, self.figures.get("second_policy") is True))
        return report(self, state, *arguments, **figures)

    monkeypatch.setattr(StatusReporter, "report", note)
    trained(tmp_path, "always")
    assert ("training", False) in told and ("training", True) in told
    assert [state for state, _ in told].index("finished") == len(told) - 1
    told.clear()
    trained(tmp_path / "alone", "never")
    assert told[-1][0] == "finished" and ("training", True) not in told


def test_a_window_that_is_closed_while_the_second_policy_is_trained_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    first_begins = StopRequest.__init__

    def with_window(self: StopRequest) -> None:
        first_begins(self)
        self.also_when(lambda: "second" in begun)

    train_second = agents.train.train_afresh
    monkeypatch.setattr(StopRequest, "__init__", with_window)
    monkeypatch.setattr(agents.train, "train_afresh", lambda *given: begun.append("second") or train_second(*given))
    _, metrics, _ = trained(tmp_path, "always")
    assert begun == ["second"] and metrics["fresh_policy"]["kept"] in ("first", "fresh")


def test_the_owner_of_a_run_stops_the_second_training_and_the_run_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_second = agents.train.train_afresh

    def stop_at_once(config: RunConfig, directory: RunDirectory, *given: Any) -> dict[str, Any]:
        with directory.open_store() as store:
            store.post_status(OWNER_REQUESTS, {"stop": True})
        return train_second(config, directory, *given)

    monkeypatch.setattr(agents.train, "train_afresh", stop_at_once)
    with pytest.raises(RunInterrupted):
        trained(tmp_path, "always", timesteps=4096)
    directory = RunDirectory(tmp_path / "run")
    with directory.open_store() as store:
        assert store.statuses()[TRAINING].value["state"] == "stopped"
    monkeypatch.setattr(agents.train, "train_afresh", train_second)
    config = read_config(directory)
    metrics = train(config, directory, Console(file=io.StringIO()), report=False, resume=True)
    assert metrics["fresh_policy"]["kept"] in ("first", "fresh")
