"""Settings that train well, and what is asked when, by environment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.learners import find_learner
from rlhf_envs.learners.on_policy import PPOConfig
from rlhf_envs.learners.zoo import sb3_defaults, tuned_settings, zoo_is_installed
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.rewards import EnsembleConfig

PPO_PRESETS: dict[str, PPOConfig] = {
    "Pendulum-v1": PPOConfig(num_envs=8, n_steps=256, batch_size=128, n_epochs=10, gamma=0.95),
    "CartPole-v1": PPOConfig(num_envs=8, n_steps=256, batch_size=256, n_epochs=10, gamma=0.98),
    # Overtaking pays late, after it has cost comfort: without some entropy and a long view most runs stay behind.
    "rlhf/Driving-v1": PPOConfig(
        num_envs=256, n_steps=32, batch_size=1024, n_epochs=6, anneal=False, gamma=0.98, ent_coef=0.01
    ),
    "rlhf/Recommender-v1": PPOConfig(num_envs=128, n_steps=32, batch_size=1024, n_epochs=6, gamma=0.95, ent_coef=0.005),
    "rlhf/Headset-v1": PPOConfig(num_envs=128, n_steps=32, batch_size=1024, n_epochs=6, gamma=0.97),
    "rlhf/Support-v1": PPOConfig(num_envs=128, n_steps=32, batch_size=1024, n_epochs=6, gamma=0.95, ent_coef=0.02),
    "rlhf/Rival-v1": PPOConfig(num_envs=128, n_steps=32, batch_size=1024, n_epochs=8, gamma=0.92, activation="relu"),
    # One batch of whole episodes: a text is then passed through the network once for all its steps.
    "rlhf/Prose-v0": PPOConfig(
        num_envs=64,
        n_steps=32,
        batch_size=2048,
        n_epochs=6,
        learning_rate=3e-4,
        anneal=False,
        gamma=1.0,
        gae_lambda=0.95,
        language_model="prose",
    ),
    "rlhf/Writing-v1": PPOConfig(num_envs=256, n_steps=32, batch_size=1024, n_epochs=6, gamma=0.95, ent_coef=0.02),
    "rlhf/Glimpse-v1": PPOConfig(
        num_envs=256,
        n_steps=32,
        batch_size=1024,
        n_epochs=6,
        learning_rate=4e-3,
        gamma=0.9,
        gae_lambda=0.7,
        ent_coef=0.03,
        activation="relu",
    ),
    "rlhf/Overlay-v1": PPOConfig(
        num_envs=128, n_steps=32, batch_size=1024, n_epochs=8, gamma=0.9, activation="relu", log_std_init=-0.7
    ),
}
"""Settings of PPO by environment id, each found by trying."""

THIRD_PARTY = PPOConfig(
    num_envs=8, n_steps=256, batch_size=256, n_epochs=10, learning_rate=3e-4, anneal=False, gamma=0.99
)
"""For any other environment: Stable-Baselines3's defaults with a wider rollout."""

FEEDBACK_PRESETS: dict[str, FeedbackConfig] = {
    # Random actions show little of driving; and what overtaking is worth has to be learned before overtaking.
    "rlhf/Driving-v1": FeedbackConfig(initial_share=0.1, ask_until=0.6),
    # A policy that has settled on whole sentences learns late what they should be about.
    "rlhf/Writing-v1": FeedbackConfig(ask_until=0.4, explore_share=0.05),
    # What random actions never come to there, a policy that explores shows in the first clips.
    "rlhf/Rival-v1": FeedbackConfig(explore_share=0.05),
    # A continuation is judged as a whole.
    "rlhf/Prose-v0": FeedbackConfig(segment_length=32),
    # Reading digits takes a policy long, and it can begin only once the reward has stopped changing.
    "rlhf/Glimpse-v1": FeedbackConfig(ask_until=0.12),
}
"""What is asked when, by environment id, where the usual schedule does not fit."""

TIMESTEPS, PROSE_TIMESTEPS = 500_000, 40_960
"""Steps of a training: of most environments, and of the one whose policy is a language model."""

PROSE_KL_COEF = 0.5
"""What a nat of KL costs a language model, where the learned reward has a standard deviation of 1."""


SettingsSource = Literal["auto", "zoo", "defaults"]
"""Where settings come from: the best that is known, rl-zoo3's, or Stable-Baselines3's defaults."""


@dataclass(frozen=True)
class Preset:
    """Settings of a learner for an environment.

    Attributes:
        settings: of the learner's settings class.
        about: where they come from, in a sentence.
    """

    settings: Any
    about: str


def preset_for(environment: EnvironmentRef | None, learner: str = "ppo", source: SettingsSource = "auto") -> Preset:
    """The settings of a learner for an environment.

    Args:
        environment: where it learns; None where only a reward is learned.
        learner: a name in `LEARNERS`, or "module:Name".
        source: "auto" takes ours where there are any for this environment, rl-zoo3's for environments of third parties,
            and general ones otherwise; see `SettingsSource` for the others.

    Raises:
        ValueError: if there is no such learner or source, rl-zoo3's are wanted and there are none, or an entry of
            rl-zoo3 cannot be understood.
    """
    if source not in get_args(SettingsSource):
        raise ValueError(f"settings must be one of {', '.join(get_args(SettingsSource))}, not {source!r}.")
    defaults = find_learner(learner).settings_class()
    id = _id(environment)
    if source == "defaults":
        return Preset(sb3_defaults(learner), f"Settings of {learner}: the defaults of Stable-Baselines3.")
    if source == "auto":
        if learner == "ppo" and id in PPO_PRESETS:
            settings = replace(PPO_PRESETS[id], language_model=_language_model(environment))
            return Preset(settings, f"Settings of ppo: ours for {id}.")
        if environment is None or id.startswith("rlhf/"):
            return Preset(defaults, f"Settings of {learner}: ours for the environments of the suite.")
    tuned = tuned_settings(id, learner)
    if tuned is not None:
        beside = (
            f" They also ask for {', '.join(tuned.left_out)}, which is not taken; --wrapper puts wrappers around the "
            "environment."
            if tuned.left_out
            else ""
        )
        return Preset(tuned.settings, f"Settings of {learner}: those of rl-zoo3 for {tuned.tuned_for}.{beside}")
    if source == "zoo":
        missing = (
            f"has none for {id or 'no environment'} and {learner}; --settings auto or defaults does without them"
            if zoo_is_installed()
            else 'is not installed; pip install "rlhf-envs[zoo]" brings it'
        )
        raise ValueError(f"--settings zoo takes the settings of rl-zoo3, which {missing}.")
    general = "general ones"
    if not zoo_is_installed():
        general += ' (pip install "rlhf-envs[zoo]" brings tuned ones for many environments)'
    return Preset(THIRD_PARTY if learner == "ppo" else defaults, f"Settings of {learner}: {general}.")


def settings_for(environment: EnvironmentRef | None, learner: str = "ppo", source: SettingsSource = "auto") -> Any:
    """`preset_for` without the sentence."""
    return preset_for(environment, learner, source).settings


def feedback_for(environment: EnvironmentRef | None) -> FeedbackConfig:
    """What is asked when in an environment."""
    return FEEDBACK_PRESETS.get(_id(environment), FeedbackConfig())


def ensemble_for(environment: EnvironmentRef | None) -> EnsembleConfig:
    """The reward model in an environment."""
    return EnsembleConfig(language_model=_language_model(environment))


def timesteps_for(environment: EnvironmentRef | None) -> int:
    """How long a training in an environment is."""
    return PROSE_TIMESTEPS if _language_model(environment) else TIMESTEPS


def kl_coef_for(environment: EnvironmentRef | None, learner: str = "ppo", source: SettingsSource = "auto") -> float:
    """What a nat of KL from the pretrained policy costs: something where the preset is a pretrained language model."""
    is_language_model = bool(getattr(settings_for(environment, learner, source), "language_model", ""))
    return PROSE_KL_COEF if is_language_model else 0.0


def _id(environment: EnvironmentRef | None) -> str:
    """The id without the module that registers it; empty for no environment."""
    return "" if environment is None else environment.id.rpartition(":")[2]


def _language_model(environment: EnvironmentRef | None) -> str:
    """The language model that an environment is written with; empty where none is."""
    preset = PPO_PRESETS.get(_id(environment))
    if environment is None or preset is None or not preset.language_model:
        return ""
    return str(environment.kwargs.get("model", preset.language_model))
