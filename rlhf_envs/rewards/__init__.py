"""The preference model: from comparisons, rankings and ratings of segments to a learned reward."""

from rlhf_envs.rewards.dataset import PreferenceDataset
from rlhf_envs.rewards.encoding import InputEncoder
from rlhf_envs.rewards.ensemble import EnsembleConfig, RewardEnsemble
from rlhf_envs.rewards.fit_config import FitConfig
from rlhf_envs.rewards.fitting import FitReport, fit
from rlhf_envs.rewards.metrics import calibration, correlation, preference_metrics
from rlhf_envs.rewards.saving import load, save

__all__ = [
    "EnsembleConfig",
    "FitConfig",
    "FitReport",
    "InputEncoder",
    "PreferenceDataset",
    "RewardEnsemble",
    "calibration",
    "correlation",
    "fit",
    "load",
    "preference_metrics",
    "save",
]
