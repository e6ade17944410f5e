"""What the networks of an algorithm were when training began, to go back to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from safetensors.torch import load_file, save_file
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

_FILE = "policy_start.safetensors"


class PolicyStart:
    """The networks of an algorithm when training began: actor, critic and their targets.

    Args:
        networks: the parameters of the policy by name.
    """

    def __init__(self, networks: Mapping[str, Tensor]) -> None:
        self._networks = networks

    @classmethod
    def of(cls, model: BaseAlgorithm) -> Self:
        """The networks that an algorithm has now."""
        return cls({name: part.detach().cpu().clone() for name, part in model.policy.state_dict().items()})

    def bring_back(self, model: BaseAlgorithm) -> None:
        """Give an algorithm these networks again, and optimisers that remember nothing.

        What it has collected, and what it has normalised by, stays.
        """
        parameters: dict[str, Any] = dict(model.get_parameters())
        for name, state in parameters.items():
            if "optimizer" in name:
                parameters[name] = {**state, "state": {}}
        parameters["policy"] = dict(self._networks)
        model.set_parameters(parameters, device=model.device)

    def save(self, folder: Path) -> None:
        """Write the networks into a checkpoint's folder."""
        save_file({name: part.contiguous() for name, part in self._networks.items()}, folder / _FILE)

    @classmethod
    def restore(cls, folder: Path) -> Self | None:
        """Take back what `save` wrote; None where nothing was written.

        Raises:
            OSError, SafetensorError: if it is damaged.
        """
        return cls(load_file(folder / _FILE)) if (folder / _FILE).exists() else None
