"""The members of a reward ensemble as one network: every parameter has a leading axis of members."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from rlhf_envs.rewards.encoding import InputEncoder

EMBEDDING_WIDTH = 16
"""Columns that a category with an embedding table contributes."""

EMBEDDING_SCALE = 0.1
"""Of fresh embeddings. A table has many columns and most of its rows are hardly ever seen: at the scale of one-hots
they would drown what the other inputs say."""

IMAGE_CHANNELS = (8, 16)
"""Filters of the convolutions, each of which halves the picture."""

_SMALL_SIDE, _LARGE_SIDE = 14, 28
"""About how many pixels the shorter side of a picture is shrunk to, of a small one and of a large one."""

OUTPUT_SCALE = 0.1
"""A fresh member starts close to zero everywhere, so that what no label speaks about adds little to its reward."""


class MemberNetwork(nn.Module):
    """K independent multi-layer perceptrons on one shared batch, without a loop over members.

    Args:
        encoder: says which columns, images and categories come in.
        members: K.
        hidden: widths of the hidden layers.
        generator: draws the initial parameters; the global random state is left alone.
    """

    def __init__(self, encoder: InputEncoder, members: int, hidden: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        self.members = members
        self.image_encoders = nn.ModuleList(
            _ImageEncoder(shape, members, hidden[0], generator) for shape in encoder.image_shapes
        )
        self.embeddings = nn.ParameterList(
            _normal((members, count, EMBEDDING_WIDTH), EMBEDDING_SCALE, generator) for count in encoder.vocabularies
        )
        width = encoder.columns + hidden[0] * len(encoder.image_shapes) + EMBEDDING_WIDTH * len(encoder.vocabularies)
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for layer, outputs in enumerate((*hidden, 1)):
            scale = (1 if layer < len(hidden) else OUTPUT_SCALE) / math.sqrt(max(width, 1))
            self.weights.append(_normal((members, width, outputs), scale, generator))
            self.biases.append(nn.Parameter(torch.zeros(members, 1, outputs)))
            width = outputs

    def forward(self, vector: Tensor, images: Sequence[Tensor], categories: Tensor) -> Tensor:
        """Rewards of B steps under each member, before any normalisation.

        Args:
            vector: (B, columns), normalised.
            images: uint8 tensors (B, channels, height, width).
            categories: (B, tables), int64.

        Returns:
            (K, B).
        """
        shared = vector.expand(self.members, *vector.shape)
        features = [encode(pixels) for encode, pixels in zip(self.image_encoders, images, strict=True)]
        features += [table[:, categories[:, column]] for column, table in enumerate(self.embeddings)]
        values = torch.cat([shared, *features], dim=2) if features else shared
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = torch.baddbmm(bias, values, weight)
            if layer < last:
                # The backward pass needs the values from before; without one, writing over them is faster.
                values = functional.silu(values, inplace=not torch.is_grad_enabled())
        return values.squeeze(2)


class _ImageEncoder(nn.Module):
    """K small convolutional networks as grouped convolutions; (B, C, H, W) uint8 to (K, B, features).

    A picture is shrunk first: a few hundred clips cannot teach what single pixels mean, and every rollout is scored.
    """

    def __init__(self, shape: tuple[int, int, int], members: int, features: int, generator: torch.Generator) -> None:
        super().__init__()
        self.members = members
        channels, height, width = shape
        side = _SMALL_SIDE if min(height, width) < _LARGE_SIDE * 3 // 2 else _LARGE_SIDE
        self.shrink = max(1, min(height, width) // side)
        height, width = height // self.shrink, width // self.shrink
        self.filters = nn.ParameterList()
        self.offsets = nn.ParameterList()
        for outputs in IMAGE_CHANNELS:
            scale = math.sqrt(2 / (channels * 9))
            self.filters.append(_normal((members * outputs, channels, 3, 3), scale, generator))
            self.offsets.append(nn.Parameter(torch.zeros(members * outputs)))
            channels = outputs
            height, width = (height - 1) // 2 + 1, (width - 1) // 2 + 1
        size = channels * height * width
        self.weight = _normal((members, size, features), math.sqrt(2 / size), generator)
        self.bias = nn.Parameter(torch.zeros(members, 1, features))

    def forward(self, pixels: Tensor) -> Tensor:
        values = functional.avg_pool2d(pixels.float().div(255), self.shrink)
        for layer, (filters, offsets) in enumerate(zip(self.filters, self.offsets, strict=True)):
            # All members look at the same picture, so only the layers behind the first need groups.
            groups = self.members if layer else 1
            values = functional.relu(functional.conv2d(values, filters, offsets, 2, 1, groups=groups))
        values = values.reshape(len(pixels), self.members, -1).transpose(0, 1)
        return functional.silu(torch.baddbmm(self.bias, values, self.weight))


def _normal(shape: tuple[int, ...], scale: float, generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape, generator=generator) * scale)
