"""The preference model: from answers about segments to a learned reward."""

from rlhf_envs.objectives import OBJECTIVES, BradleyTerry, Objective, Probit
from rlhf_envs.rewards.dataset import PreferenceDataset
from rlhf_envs.rewards.encoding import InputEncoder
from rlhf_envs.rewards.ensemble import RewardEnsemble
from rlhf_envs.rewards.fit_config import FitConfig
from rlhf_envs.rewards.fitting import FitReport, fit
from rlhf_envs.rewards.joint_fitting import fit_with_reliability
from rlhf_envs.rewards.metrics import (
    calibration,
    correlation,
    predict_answers,
    predict_out_of_fold,
    preference_metrics,
)
from rlhf_envs.rewards.network import EnsembleConfig
from rlhf_envs.rewards.reliability import Reliability
from rlhf_envs.rewards.saving import load, save

__all__ = [
    "OBJECTIVES",
    "BradleyTerry",
    "EnsembleConfig",
    "FitConfig",
    "FitReport",
    "InputEncoder",
    "Objective",
    "PreferenceDataset",
    "Probit",
    "Reliability",
    "RewardEnsemble",
    "calibration",
    "correlation",
    "fit",
    "fit_with_reliability",
    "load",
    "predict_answers",
    "predict_out_of_fold",
    "preference_metrics",
    "save",
]
