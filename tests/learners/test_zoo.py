"""Tuned settings are read from rl-zoo3's files, whose expressions are parsed and never run."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.config import RunConfig
from agents.presets import PPO_PRESETS, THIRD_PARTY, preset_for
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.learners import LEARNERS, find_learner, zoo
from rlhf_envs.learners.off_policy import DQNConfig, SACConfig, TD3Config
from rlhf_envs.learners.on_policy import PPOConfig

pytestmark = pytest.mark.skipif(importlib.util.find_spec("rl_zoo3") is None, reason="rl-zoo3 is not installed")


@pytest.fixture
def entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write an entry of ppo.yml and read it."""
    monkeypatch.setattr(zoo, "_folder", lambda: tmp_path)

    def read(text: str) -> zoo.TunedSettings | None:
        (tmp_path / "ppo.yml").write_text(f"Thing-v1:\n{text}")
        return zoo.tuned_settings("Thing-v1", "ppo")

    return read


@pytest.mark.parametrize("learner", zoo._FILES)
def test_every_entry_of_rl_zoo3_can_be_used_with_its_learner(learner: str) -> None:
    import yaml

    folder = zoo._folder()
    assert folder is not None
    for name in yaml.safe_load((folder / f"{zoo._FILES[learner]}.yml").read_text()):
        found = zoo.tuned_settings(name, learner)
        assert found is not None and isinstance(found.settings, find_learner(learner).settings_class)
        assert (
            not set(found.left_out)
            - {"env_wrapper", "frame_stack", "replay_buffer_class", "replay_buffer_kwargs"}
            - {
                "optimizer_class",
                "optimizer_kwargs",
                "clip_range_vf",
                "normalize_kwargs",
            }
        ), name
    # It is read without being imported, which would import optuna and much else.
    assert "rl_zoo3" not in sys.modules


def test_what_an_entry_says_becomes_settings() -> None:
    hopper = zoo.tuned_settings("Hopper-v5", "ppo")
    assert hopper is not None and hopper.tuned_for == "Hopper-v4"
    assert isinstance(hopper.settings, PPOConfig)
    found = hopper.settings
    assert (found.num_envs, found.n_steps, found.batch_size, found.n_epochs) == (1, 512, 32, 5)
    assert found.normalize_observations and found.normalize_rewards and not found.ortho_init
    assert (found.net_arch, found.activation, found.log_std_init) == ((256, 256), "relu", -2.0)
    lander = zoo.tuned_settings("LunarLander-v3", "dqn")
    assert lander is not None and isinstance(lander.settings, DQNConfig) and lander.settings.gradient_steps == -1
    cheetah = zoo.tuned_settings("HalfCheetah-v5", "td3")
    assert cheetah is not None and isinstance(cheetah.settings, TD3Config)
    assert (cheetah.settings.action_noise, cheetah.settings.noise_std) == ("normal", 0.1)
    car = zoo.tuned_settings("MountainCarContinuous-v0", "sac")
    assert car is not None and isinstance(car.settings, SACConfig)
    assert car.settings.ent_coef == "0.1" and car.settings.use_sde and car.settings.log_std_init == -3.67


def test_rates_that_fall_sizes_and_normalisation_are_understood(entries: Any) -> None:
    found = entries("  learning_rate: lin_0.001\n  clip_range: lin_0.2\n  n_steps: 8\n  batch_size: 256\n").settings
    assert (found.learning_rate, found.anneal, found.clip_range, found.anneal_clip) == (0.001, True, 0.2, True)
    assert found.batch_size == 8 and found.num_envs == 1
    rewards_only = entries("  normalize: \"{'norm_obs': False, 'norm_reward': True}\"\n").settings
    assert (rewards_only.normalize_observations, rewards_only.normalize_rewards) == (False, True)
    assert entries("  frame_stack: 4\n  n_timesteps: !!float 1e6\n").left_out == ("frame_stack",)


@pytest.mark.parametrize(
    "text, value",
    [
        ("dict(log_std_init=-2, net_arch=[64, 64])", {"log_std_init": -2, "net_arch": [64, 64]}),
        ("dict(net_arch=dict(pi=[8], vf=(8,)), activation_fn=nn.ReLU)", {"net_arch": {"pi": [8], "vf": [8]}}),
        ("{'norm_obs': True}", {"norm_obs": True}),
        ("[1, 'episode']", [1, "episode"]),
    ],
)
def test_expressions_are_parsed(text: str, value: Any) -> None:
    found = zoo.parse_expression(text)
    assert found == value or {**value, "activation_fn": "nn.ReLU"} == found


@pytest.mark.parametrize(
    "text", ["__import__('os').system('true')", "dict(a=open('x'))", "dict([])", "2 ** 10", "lambda: 1", "a b"]
)
def test_expressions_that_do_anything_are_refused_and_not_run(text: str, entries: Any) -> None:
    with pytest.raises((ValueError, SyntaxError)):
        zoo.parse_expression(text)
    with pytest.raises(ValueError, match="settings of rl-zoo3 for Thing-v1 cannot be used with ppo"):
        entries(f'  policy_kwargs: "{text}"\n')


@pytest.mark.parametrize(
    "text", ["activation_fn=nn.Tanhshrink", "net_arch=dict(pi=[8], vf=[9])", "net_arch=[-1]", "log_std_init='a'"]
)
def test_entries_without_a_place_in_our_settings_are_refused_in_a_sentence(text: str, entries: Any) -> None:
    with pytest.raises(ValueError, match=r"Thing-v1 cannot be used with ppo \(.*--settings defaults"):
        entries(f'  policy_kwargs: "dict({text})"\n')


def test_settings_come_from_where_they_are_best_and_that_is_said() -> None:
    pendulum, hopper = EnvironmentRef("Pendulum-v1"), EnvironmentRef("Hopper-v5")
    assert preset_for(pendulum).settings == PPO_PRESETS["Pendulum-v1"]
    assert preset_for(pendulum).about == "Settings of ppo: ours for Pendulum-v1."
    assert preset_for(pendulum, source="zoo").settings.use_sde
    assert preset_for(pendulum, "sac").settings.learning_rate == 1e-3
    assert preset_for(hopper).about == "Settings of ppo: those of rl-zoo3 for Hopper-v4."
    assert preset_for(hopper, source="defaults").settings == zoo.sb3_defaults("ppo")
    assert preset_for(EnvironmentRef("rlhf/Driving-v1"), "sac").settings == SACConfig()
    assert preset_for(EnvironmentRef("Mine-v0")).settings == THIRD_PARTY
    assert "env_wrapper, frame_stack, which is not taken" in preset_for(EnvironmentRef("CarRacing-v3")).about
    with pytest.raises(ValueError, match="which has none for Mine-v0 and ppo; --settings auto or defaults"):
        preset_for(EnvironmentRef("Mine-v0"), source="zoo")
    with pytest.raises(ValueError, match="settings must be one of auto, zoo, defaults, not 'best'"):
        RunConfig(pendulum, settings="best")  # type: ignore[arg-type]


def test_without_rl_zoo3_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "_folder", lambda: None)
    hopper = EnvironmentRef("Hopper-v5")
    assert "rlhf-envs[zoo]" in preset_for(hopper).about
    with pytest.raises(ValueError, match="is not installed; pip install"):
        preset_for(hopper, source="zoo")


def test_a_run_says_what_was_changed_and_keeps_where_its_settings_are_from() -> None:
    config = RunConfig(EnvironmentRef("Pendulum-v1"), learner="sac", learner_settings=SACConfig(gamma=0.5))
    assert (
        config.about_settings() == "Settings of sac: those of rl-zoo3 for Pendulum-v1. Changed: learning_rate, gamma."
    )
    config = RunConfig(EnvironmentRef("Pendulum-v1"), learner="sac", settings="defaults")
    assert config.learner_settings == SACConfig()
    assert RunConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_learner_has_the_defaults_of_stable_baselines3(learner: str) -> None:
    assert zoo.sb3_defaults(learner).num_envs == 1
