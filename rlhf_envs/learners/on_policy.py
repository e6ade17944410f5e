"""Learners that learn from each rollout once: PPO, the default, A2C, and two kinds of PPO from sb3-contrib."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from rlhf_envs.learners.learner import Learner
from rlhf_envs.learners.settings import LearnerConfig, falling, require_actions


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

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_least(n_steps=1, sde_sample_freq=-1)
        self.check_shares("gae_lambda")
        self.check_positive("max_grad_norm")
        self.check_not_negative("ent_coef", "vf_coef")

    def arguments(self, observation_space: spaces.Space[Any]) -> dict[str, Any]:
        """The arguments that these algorithms have in common."""
        policy, policy_kwargs = self.policy(observation_space)
        return {
            "policy": policy,
            "learning_rate": self.rate(),
            "n_steps": self.n_steps,
            "gamma": self.gamma,
            "gae_lambda": self.gae_lambda,
            "ent_coef": self.ent_coef,
            "vf_coef": self.vf_coef,
            "max_grad_norm": self.max_grad_norm,
            "normalize_advantage": self.normalize_advantage,
            "use_sde": self.use_sde,
            "sde_sample_freq": self.sde_sample_freq,
            "policy_kwargs": {**policy_kwargs, "ortho_init": self.ortho_init, "log_std_init": self.log_std_init},
        }


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
        if self.num_envs < 1 or self.n_steps < 2:
            raise ValueError(
                f"PPO needs num_envs of at least 1 and n_steps of at least 2, not {self.num_envs} and {self.n_steps}."
            )
        super().__post_init__()
        self.check_least(batch_size=2, n_epochs=1)
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

    def arguments(self, observation_space: spaces.Space[Any]) -> dict[str, Any]:
        """Those of PPO."""
        return {
            **super().arguments(observation_space),
            "batch_size": self.batch_size,
            "n_epochs": self.n_epochs,
            "clip_range": falling(self.clip_range) if self.anneal_clip else self.clip_range,
        }


class PPOLearner(Learner[PPOConfig]):
    """Proximal policy optimisation (Schulman et al. 2017), from Stable-Baselines3."""

    settings_class = PPOConfig

    def build(self, env: VecEnv, settings: PPOConfig, seed: int, device: str = "cpu") -> BaseAlgorithm:
        """PPO with the policy that reads the environment's observations."""
        return PPO(env=env, seed=seed, device=device, **settings.arguments(env.observation_space))

    def for_trial(self, settings: PPOConfig) -> PPOConfig:
        """Rollouts and batches of two steps: PPO refuses batches of a single one."""
        return replace(settings, num_envs=min(settings.num_envs, 2), n_steps=2, batch_size=2)


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


class A2CLearner(Learner[A2CConfig]):
    """Advantage actor-critic (Mnih et al. 2016), from Stable-Baselines3."""

    settings_class = A2CConfig

    def build(self, env: VecEnv, settings: A2CConfig, seed: int, device: str = "cpu") -> BaseAlgorithm:
        """A2C with the policy that reads the environment's observations."""
        arguments = settings.arguments(env.observation_space)
        return A2C(env=env, seed=seed, device=device, use_rms_prop=settings.use_rms_prop, **arguments)

    def for_trial(self, settings: A2CConfig) -> A2CConfig:
        """Rollouts of two steps."""
        return replace(settings, num_envs=min(settings.num_envs, 2), n_steps=2)


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


class RecurrentPPOLearner(Learner[RecurrentPPOConfig]):
    """PPO whose policy remembers, by an LSTM; from sb3-contrib. For environments that do not show their whole state."""

    settings_class = RecurrentPPOConfig

    def build(self, env: VecEnv, settings: RecurrentPPOConfig, seed: int, device: str = "cpu") -> BaseAlgorithm:
        """RecurrentPPO with the policy that reads the environment's observations."""
        arguments = settings.arguments(env.observation_space)
        arguments["policy"] = arguments["policy"].replace("Policy", "LstmPolicy")
        arguments["policy_kwargs"] |= {
            "lstm_hidden_size": settings.lstm_hidden_size,
            "n_lstm_layers": settings.n_lstm_layers,
            "enable_critic_lstm": settings.enable_critic_lstm,
        }
        algorithm: Any = from_contrib("RecurrentPPO")
        model: BaseAlgorithm = algorithm(env=env, seed=seed, device=device, **arguments)
        return model

    def for_trial(self, settings: RecurrentPPOConfig) -> RecurrentPPOConfig:
        """Rollouts and batches of two steps."""
        return replace(settings, num_envs=min(settings.num_envs, 2), n_steps=2, batch_size=2)


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


class MaskablePPOLearner(Learner[MaskablePPOConfig]):
    """PPO that never takes an action which the environment forbids at the moment; from sb3-contrib."""

    settings_class = MaskablePPOConfig

    def build(self, env: VecEnv, settings: MaskablePPOConfig, seed: int, device: str = "cpu") -> BaseAlgorithm:
        """MaskablePPO with the policy that reads the environment's observations."""
        require_actions(
            "maskable-ppo",
            env,
            *(spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary),
            others="ppo, a2c, sac, td3 and tqc",
        )
        if not env.has_attr("action_masks"):
            raise ValueError(
                "maskable-ppo needs an environment with a method action_masks, which says which actions are allowed; "
                "ppo does without, and the wrapper ActionMasker of sb3-contrib adds one."
            )
        algorithm: Any = from_contrib("MaskablePPO")
        arguments = settings.arguments(env.observation_space)
        for name in ("use_sde", "sde_sample_freq"):
            del arguments[name]
        del arguments["policy_kwargs"]["log_std_init"]
        model: BaseAlgorithm = algorithm(env=env, seed=seed, device=device, **arguments)
        return model

    def for_trial(self, settings: MaskablePPOConfig) -> MaskablePPOConfig:
        """Rollouts and batches of two steps."""
        return replace(settings, num_envs=min(settings.num_envs, 2), n_steps=2, batch_size=2)


def from_contrib(name: str) -> Any:
    """An algorithm of sb3-contrib.

    Raises:
        ValueError: if that is not installed.
    """
    try:
        import sb3_contrib
    except ImportError as error:
        raise ValueError(f'{name} is part of sb3-contrib; install it with pip install "rlhf-envs[contrib]".') from error
    return getattr(sb3_contrib, name)
