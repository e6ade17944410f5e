"""Learners that learn from each rollout once: PPO, the default, A2C, and two kinds of PPO from sb3-contrib."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from rlhf_envs.learners.language import LanguageModelPolicy
from rlhf_envs.learners.learner import FOR_BOX, NamedLearner
from rlhf_envs.learners.settings import LearnerConfig, falling

_TWO_STEPS = {"n_steps": 2, "batch_size": 2}
"""PPO refuses batches of a single step."""


@dataclass(frozen=True)
class OnPolicyConfig(LearnerConfig):
    """Settings of algorithms with a rollout buffer.

    Attributes:
        n_steps: steps of every copy in a rollout.
        gae_lambda: trade-off of the advantage estimate: 0 trusts the value function alone, 1 the rewards alone.
        ent_coef: weight of the entropy of the actions in the loss; more keeps the policy exploring.
        vf_coef: weight of the value function's error in the loss.
        max_grad_norm: longer gradients are cut to this norm.
        normalize_advantage: whether advantages are standardised within a batch.
        ortho_init: whether the networks begin with orthogonal weights.
        log_std_init: how widely a Box policy explores at the start (logarithm of the deviation).
        use_sde: explore with state-dependent noise.
        sde_sample_freq: steps between two draws of that noise; once a rollout where -1.
        language_model: the causal language model that the policy is, where actions are tokens: "prose" for this
            package's own, "prose-untrained" for one that has learned nothing yet, or the folder of one of Hugging Face.
            `net_arch` is then the value head's. Empty for a policy without one.
    """

    num_envs: int = 8
    n_steps: int = 64
    gae_lambda: float = 0.95
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    normalize_advantage: bool = True
    ortho_init: bool = True
    log_std_init: float = 0.0
    use_sde: bool = False
    sde_sample_freq: int = -1
    language_model: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_least(n_steps=1, sde_sample_freq=-1)
        self.check_shares("gae_lambda")
        self.check_positive("max_grad_norm")
        self.check_not_negative("ent_coef", "vf_coef")

    def arguments(self, env: VecEnv) -> dict[str, Any]:
        """Those that these algorithms have in common."""
        arguments = super().arguments(env)
        arguments["policy_kwargs"] |= self.taken("ortho_init", "log_std_init")
        if self.language_model:
            arguments["policy"] = LanguageModelPolicy
            arguments["policy_kwargs"].pop("features_extractor_class", None)
            arguments["policy_kwargs"] |= self.taken("language_model")
        return arguments | self.taken(
            *("n_steps", "gae_lambda", "ent_coef", "vf_coef", "max_grad_norm", "normalize_advantage"),
            *("use_sde", "sde_sample_freq"),
        )


@dataclass(frozen=True)
class PPOConfig(OnPolicyConfig):
    """Settings of PPO.

    Attributes:
        batch_size: steps in a mini-batch.
        n_epochs: passes over a rollout.
        clip_range: how far the probability of an action may move in one update, as a share; falls linearly to 0 over
            training with `anneal_clip`.
        anneal_clip: whether the clip range falls.
    """

    num_envs: int = 64
    batch_size: int = 1024
    n_epochs: int = 6
    learning_rate: float = 1e-3
    anneal: bool = True
    gamma: float = 0.98
    clip_range: float = 0.2
    anneal_clip: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_least(n_steps=2, batch_size=2, n_epochs=1)
        self.check_positive("clip_range")
        rollout = self.num_envs * self.n_steps
        if rollout % self.batch_size:
            fitting = next(
                (size for size in range(min(self.batch_size, rollout), 1, -1) if not rollout % size), rollout
            )
            raise ValueError(
                f"batch_size must divide num_envs * n_steps = {rollout}, which {self.batch_size} does not; "
                f"{fitting} does."
            )

    def arguments(self, env: VecEnv) -> dict[str, Any]:
        """Those of PPO."""
        clip_range = falling(self.clip_range) if self.anneal_clip else self.clip_range
        return super().arguments(env) | self.taken("batch_size", "n_epochs") | {"clip_range": clip_range}


class PPOLearner(NamedLearner[PPOConfig]):
    """Proximal policy optimisation (Schulman et al. 2017), from Stable-Baselines3."""

    settings_class = PPOConfig
    name = "ppo"
    algorithm = PPO
    trial = _TWO_STEPS


@dataclass(frozen=True)
class A2CConfig(OnPolicyConfig):
    """Settings of A2C.

    Attributes:
        use_rms_prop: whether the optimiser is RMSprop; Adam otherwise.
    """

    learning_rate: float = 7e-4
    n_steps: int = 5
    gae_lambda: float = 1.0
    normalize_advantage: bool = False
    use_rms_prop: bool = True

    def arguments(self, env: VecEnv) -> dict[str, Any]:
        """Those of A2C."""
        return super().arguments(env) | self.taken("use_rms_prop")


class A2CLearner(NamedLearner[A2CConfig]):
    """Advantage actor-critic (Mnih et al. 2016), from Stable-Baselines3."""

    settings_class = A2CConfig
    name = "a2c"
    algorithm = A2C
    trial = {"n_steps": 2}


@dataclass(frozen=True)
class RecurrentPPOConfig(PPOConfig):
    """Settings of PPO with memory.

    Attributes:
        lstm_hidden_size: units of the LSTM.
        n_lstm_layers: of the LSTM.
        enable_critic_lstm: whether the value function has an LSTM of its own; otherwise it has none.
    """

    num_envs: int = 8
    n_steps: int = 128
    batch_size: int = 128
    n_epochs: int = 10
    learning_rate: float = 3e-4
    anneal: bool = False
    gamma: float = 0.99
    lstm_hidden_size: int = 256
    n_lstm_layers: int = 1
    enable_critic_lstm: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_least(lstm_hidden_size=1, n_lstm_layers=1)

    def arguments(self, env: VecEnv) -> dict[str, Any]:
        """Those of RecurrentPPO."""
        _refuse_language_model(self, "recurrent-ppo")
        arguments = super().arguments(env)
        arguments["policy"] = arguments["policy"].replace("Policy", "LstmPolicy")
        arguments["policy_kwargs"] |= self.taken("lstm_hidden_size", "n_lstm_layers", "enable_critic_lstm")
        return arguments


class RecurrentPPOLearner(NamedLearner[RecurrentPPOConfig]):
    """PPO whose policy remembers, by an LSTM; from sb3-contrib. For environments that do not show their whole state."""

    settings_class = RecurrentPPOConfig
    name = "recurrent-ppo"
    algorithm = "RecurrentPPO"
    trial = _TWO_STEPS


@dataclass(frozen=True)
class MaskablePPOConfig(PPOConfig):
    """Settings of PPO with masks; its actions are discrete, so those about the noise of Box policies do nothing."""

    num_envs: int = 8
    n_steps: int = 256
    batch_size: int = 256
    n_epochs: int = 10
    learning_rate: float = 3e-4
    anneal: bool = False
    gamma: float = 0.99

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.use_sde or self.log_std_init:
            raise ValueError(
                "MaskablePPO chooses discrete actions, which have no noise; leave use_sde and log_std_init."
            )

    def arguments(self, env: VecEnv) -> dict[str, Any]:
        """Those of MaskablePPO."""
        _refuse_language_model(self, "maskable-ppo")
        arguments = super().arguments(env)
        del arguments["use_sde"], arguments["sde_sample_freq"], arguments["policy_kwargs"]["log_std_init"]
        return arguments


class MaskablePPOLearner(NamedLearner[MaskablePPOConfig]):
    """PPO that never takes an action which the environment forbids at the moment; from sb3-contrib."""

    settings_class = MaskablePPOConfig
    name = "maskable-ppo"
    algorithm = "MaskablePPO"
    trial = _TWO_STEPS
    actions = (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
    others = FOR_BOX

    def build(self, env: VecEnv, settings: MaskablePPOConfig, seed: int, device: str = "cpu") -> BaseAlgorithm:
        """MaskablePPO, if the environment says which actions are allowed."""
        if isinstance(env.action_space, self.actions) and not env.has_attr("action_masks"):
            raise ValueError(
                "maskable-ppo needs an environment with a method action_masks, which says which actions are allowed; "
                "ppo does without, and the wrapper ActionMasker of sb3-contrib adds one."
            )
        return super().build(env, settings, seed, device)


def _refuse_language_model(settings: OnPolicyConfig, learner: str) -> None:
    if settings.language_model:
        raise ValueError(f"{learner} has a policy of its own kind, which cannot be a language model; ppo and a2c can.")
