"""Networks that read pictures and texts: features extractors for Stable-Baselines3, chosen by the observation space."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np
import torch
from gymnasium import Space, spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor
from torch import nn

from rlhf_envs.observations import space_parts

SMALLEST_FOR_NATURE_CNN = 36
"""Pixels. The network that Stable-Baselines3 reads pictures with shrinks anything smaller to nothing."""

FEWEST_TOKENS = 33
"""A category of at least this many values is a token, which gets an embedding; a smaller one stays a one-hot."""


_FILTERS, _FEATURES = 16, 64


class SmallImageExtractor(BaseFeaturesExtractor):
    """A convolutional network for pictures of about 16 to 36 pixels a side, which it halves twice.

    Args:
        observation_space: a Box of shape (channels, height, width), scaled to [0, 1] before it arrives here.
    """

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, _FEATURES)
        depth = observation_space.shape[0]
        convolutions = nn.Sequential(
            nn.AvgPool2d(2),
            nn.Conv2d(depth, _FILTERS, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        with torch.no_grad():
            width = convolutions(torch.zeros(1, *observation_space.shape)).shape[1]
        self.layers = nn.Sequential(convolutions, nn.Linear(width, _FEATURES), nn.ReLU())

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Pictures (B, channels, height, width) as features (B, features_dim)."""
        features: torch.Tensor = self.layers(observations)
        return features


class TokenExtractor(BaseFeaturesExtractor):
    """Reads the tokens of a MultiDiscrete observation through embeddings, the same at every place of one vocabulary.

    Places with the same number of values, `FEWEST_TOKENS` or more, are taken to hold tokens of one vocabulary. So a
    word that was learned at one place is known at all of them.

    Args:
        observation_space: a MultiDiscrete, whose values arrive here as one-hots, side by side.
        dimensions: of an embedding.
    """

    def __init__(self, observation_space: spaces.MultiDiscrete, dimensions: int = 24) -> None:
        counts = [int(count) for count in observation_space.nvec.reshape(-1)]
        super().__init__(observation_space, sum(dimensions if count >= FEWEST_TOKENS else count for count in counts))
        self._places = list(zip([0, *accumulate(counts)], counts, strict=False))
        vocabularies = sorted({count for count in counts if count >= FEWEST_TOKENS})
        self.embeddings = nn.ModuleDict(
            {str(count): nn.Linear(count, dimensions, bias=False) for count in vocabularies}
        )

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """One-hots (B, sum of the numbers of values) as features (B, features_dim)."""
        read = []
        for start, count in self._places:
            values = observations[:, start : start + count]
            read.append(self.embeddings[str(count)](values) if count >= FEWEST_TOKENS else values)
        return torch.cat(read, dim=1)


class DictExtractor(CombinedExtractor):
    """Stable-Baselines3's network for Dict observations, for pictures among them that are too small for its own.

    Args:
        observation_space: a flat Dict.
    """

    def __init__(self, observation_space: spaces.Dict) -> None:
        small = {key: part for key, part in observation_space.spaces.items() if _is_small_image(part)}
        rest = {key: part for key, part in observation_space.spaces.items() if key not in small}
        super().__init__(spaces.Dict(rest))
        self._observation_space = observation_space
        for key, part in small.items():
            extractor = SmallImageExtractor(part)  # type: ignore[arg-type]
            self.extractors[key] = extractor
            self._features_dim += extractor.features_dim


def _is_small_image(space: Space[Any]) -> bool:
    if not (isinstance(space, spaces.Box) and is_image_space(space)):
        return False
    return sorted(space.shape)[-2] < SMALLEST_FOR_NATURE_CNN


def policy_for(observation_space: Space[Any]) -> tuple[str, dict[str, Any]]:
    """Which of Stable-Baselines3's policies reads this kind of observation, and the arguments that this takes."""
    small = any(map(_is_small_image, space_parts(observation_space).values()))
    if isinstance(observation_space, spaces.Dict):
        return "MultiInputPolicy", {"features_extractor_class": DictExtractor} if small else {}
    if isinstance(observation_space, spaces.Box) and is_image_space(observation_space):
        return "CnnPolicy", {"features_extractor_class": SmallImageExtractor} if small else {}
    if isinstance(observation_space, spaces.MultiDiscrete) and np.any(observation_space.nvec >= FEWEST_TOKENS):
        return "MlpPolicy", {"features_extractor_class": TokenExtractor}
    return "MlpPolicy", {}
