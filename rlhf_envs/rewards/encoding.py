"""Observations and actions of a Gymnasium space as input of the reward network.

Every part of the two spaces goes into one of three streams: `vector` columns (floats and one-hots), `images` (for a
convolutional encoder) and `categories` (indices into embedding tables). Pictures are shrunk: a few hundred clips cannot
teach what single pixels mean, every rollout is scored, and all clips that were ever answered stay in memory. A
thumbnail of each is among the columns besides: what a lamp or a bar in it says is then a number, which far fewer
answers determine than a network that has to find it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch.nn import functional

from rlhf_envs.observations import Observations, is_image, map_observations, named_arrays

ONE_HOT_LIMIT = 64
"""A category of up to this many values becomes a one-hot; a larger one gets an embedding table, because most columns of
its one-hot would never be seen among the few hundred clips that people compare."""

_SMALL_SIDE, _LARGE_SIDE = 14, 28
"""About how many pixels the shorter side of a picture is shrunk to, of a small one and of a large one."""

_THUMBNAIL_SIDE = 7
"""About how many pixels the shorter side of its thumbnail has."""

_PICTURES_AT_ONCE = 64
"""That are turned into floats at a time, which take four times the memory of bytes."""

_WORD_COLUMNS = 32
"""Principal components of a token's embedding that the reward network sees."""

_LONG_TOKEN, _LEAST_LIKELY, _TEXTS_AT_ONCE = 4, -12.0, 4096

_SUPPORTED_OBSERVATIONS = "Box, Discrete, MultiDiscrete, MultiBinary and flat Dict of these"
_SUPPORTED_ACTIONS = "Box, Discrete, MultiDiscrete and MultiBinary"


class InputSource(NamedTuple):
    """Where an input of the network comes from.

    Attributes:
        key: of a Dict observation; "" where the observation is one array, and for actions.
        place: which number of the array, counted in the order of memory; 0 for a picture and its thumbnail.
        is_action: whether it is from the action.
    """

    key: str
    place: int
    is_action: bool = False


@dataclass(frozen=True, eq=False)
class Encoded:
    """A batch of B steps, ready for the network.

    Attributes:
        vector: (B, columns) float32, not yet normalised; thumbnails of pictures are among them.
        images: one float32 array (B, channels, height, width) per image in the observation, shrunk, from 0 to 1.
        categories: (B, tables) int64, the row of each embedding table.
    """

    vector: NDArray[np.float32]
    images: tuple[NDArray[np.float32], ...]
    categories: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.vector)

    def __getitem__(self, rows: Any) -> Encoded:
        """The given rows: a slice or an integer array."""
        return Encoded(self.vector[rows], tuple(image[rows] for image in self.images), self.categories[rows])

    def unflatten(self, segments: int, steps: int) -> Encoded:
        """Steps of segments, one segment after another, with the leading axes (segments, steps)."""
        lead = segments, steps
        images = tuple(image.reshape(*lead, *image.shape[1:]) for image in self.images)
        return Encoded(
            self.vector.reshape(*lead, self.vector.shape[1]),
            images,
            self.categories.reshape(*lead, self.categories.shape[1]),
        )


class InputEncoder:
    """Turns batches of observations and actions of two given spaces into `Encoded` batches. Holds no learned state.

    Args:
        observation_space, action_space: of the environment.
        absorbing: whether it terminates episodes. The last column then says which steps come after a termination, an
            indicator of the absorbing state (Kostrikov et al. 2019, "Discriminator-actor-critic", section 4.1), and
            everything else is 0 in these.
        language_model: reads observations that are windows of tokens, see `EnsembleConfig`; empty for others.

    Attributes:
        columns: width of `Encoded.vector`.
        observed: how many of these, the first ones, are the observation; those of the action follow.
        normalised: (columns,) bool, the columns of unknown scale, which want the mean and std of the data seen.
            One-hots and actions scaled by their bounds are left as they are.
        pictures: the key of each image in a Dict observation; empty where the observation is one.
        image_shapes: (channels, height, width) of each image, shrunk.
        vocabularies: the number of values of each embedded category.
        column_sources, table_sources: where each vector column, without the indicator of the absorbing state, and each
            embedded category comes from.

    Raises:
        ValueError: if a space, or a part of it, is of a kind that cannot be encoded.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        absorbing: bool = False,
        language_model: str = "",
    ) -> None:
        self.absorbing = absorbing
        self.observation_space = observation_space
        self.action_space = action_space
        self._text = TokenReader(language_model, observation_space, action_space) if language_model else None
        self._parts = [] if self._text else list(_observation_parts(observation_space))
        self._action_part = _part("actions", action_space, _SUPPORTED_ACTIONS, is_action=True)
        self.pictures = [key or "" for key, part in self._parts if part.image_shapes]
        normalised: list[bool] = []
        self.image_shapes: list[tuple[int, int, int]] = []
        self.vocabularies: list[int] = []
        for part in [*(part for _, part in self._parts), self._action_part]:
            normalised += part.normalised
            self.image_shapes += part.image_shapes
            self.vocabularies += part.vocabularies
        self.column_sources: list[InputSource] = []
        self.table_sources: list[InputSource] = []
        for key, part in (*self._parts, ("", self._action_part)):
            source = key or "", part is self._action_part
            self.column_sources += [InputSource(source[0], index, source[1]) for index in part.columns]
            self.table_sources += [InputSource(source[0], index, source[1]) for index in part.tables]
        if self._text is not None:
            normalised += self._text.normalised
            self.column_sources += self._text.columns
        if absorbing:
            normalised.append(False)
        self.normalised = np.array(normalised, dtype=bool)
        self.columns = len(normalised)
        self.observed = sum(len(part.normalised) for _, part in self._parts)

    def encode(
        self, observations: Observations, actions: NDArray[Any], absorbing: NDArray[np.bool_] | None = None
    ) -> Encoded:
        """Encode B steps.

        Args:
            observations: (B, *observation shape), or a dict of such arrays for a Dict space.
            actions: (B, *action shape).
            absorbing: (B,) bool, which steps come after a termination; None for none of them. Their observations and
                actions are not looked at.

        Raises:
            ValueError: if a key is missing, a shape is not the space's, the batches differ in length, or there are
                steps after a termination which the encoder was not made for.
        """
        if absorbing is not None and absorbing.any():
            return self._encode_around(observations, actions, absorbing)
        batch = len(actions)
        encoded = [part.encode(_pick(observations, key), batch) for key, part in self._parts]
        encoded.append(self._action_part.encode(actions, batch))
        vectors = [part.vector for part in encoded]
        if self._text is not None:
            vectors.append(self._text.read(np.asarray(observations), actions))
        if self.absorbing:
            vectors.append(np.zeros((batch, 1), np.float32))
        return Encoded(
            np.concatenate(vectors, axis=1),
            tuple(image for part in encoded for image in part.images),
            np.concatenate([part.categories for part in encoded], axis=1),
        )

    def encode_numbers(self, observations: Observations, batch: int) -> NDArray[np.float32]:
        """The vector columns of B observations alone, (B, `observed`) float32, without actions.

        Raises:
            ValueError: as `encode` does.
        """
        parts = [part.encode(_pick(observations, key), batch).vector for key, part in self._parts if part.normalised]
        return np.concatenate([np.zeros((batch, 0), np.float32), *parts], axis=1)

    def absorbing_steps(self, batch: int) -> Encoded:
        """B steps after a termination, which are all alike.

        Raises:
            ValueError: if the encoder was not made for them.
        """
        if not self.absorbing:
            raise ValueError(
                "A segment goes on after the termination of its episode, which this reward model was not made for; "
                "make it with absorbing=True."
            )
        vector = np.zeros((batch, self.columns), np.float32)
        vector[:, -1] = 1
        return Encoded(
            vector,
            tuple(np.zeros((batch, *shape), np.float32) for shape in self.image_shapes),
            np.zeros((batch, len(self.vocabularies)), np.int64),
        )

    def lived_steps(self, steps: Encoded) -> Encoded:
        """Those of B encoded steps that do not come after a termination."""
        return steps[np.flatnonzero(steps.vector[:, -1] == 0)] if self.absorbing else steps

    def _encode_around(
        self, observations: Observations, actions: NDArray[Any], absorbing: NDArray[np.bool_]
    ) -> Encoded:
        """`encode` where some of the steps come after a termination."""
        encoded, lived = self.absorbing_steps(len(absorbing)), np.flatnonzero(~absorbing)
        arrays = [actions, *(array for _, array in named_arrays(observations))]
        if any(len(array) != len(absorbing) for array in arrays):
            raise ValueError(
                f"{len(absorbing)} steps have as many observations and actions, not {[len(array) for array in arrays]}."
            )
        shown: Observations = map_observations(lambda array: np.asarray(array)[lived], observations)
        before = self.encode(shown, np.asarray(actions)[lived])
        encoded.vector[lived] = before.vector
        encoded.categories[lived] = before.categories
        for image, seen in zip(encoded.images, before.images, strict=True):
            image[lived] = seen
        return encoded


class TokenReader:
    """What a frozen language model makes of tokens, as columns for the reward network.

    These are the logarithm of the token's probability after what is there, whether it repeats a token of several
    letters or a pair of tokens, and the first principal components of its embedding.

    Args:
        language_model: as `EnsembleConfig` names it.
        observation_space, action_space: a window of its tokens, and the next token.

    Attributes:
        normalised: which of the columns are of unknown scale, see `InputEncoder`.
        columns: what each of them is.

    Raises:
        ValueError: if there is no such model, or the spaces are not those of its tokens.
    """

    def __init__(
        self, language_model: str, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]
    ) -> None:
        # Imported here, so that rewards of other environments load no language model.
        from rlhf_envs.envs.prose.language_model import are_of_tokens, frozen_model, lengths_of, pieces_of, read_ends

        self._model, self._read_ends, self._lengths_of = frozen_model(language_model), read_ends, lengths_of
        self._count = self._model.vocabulary
        self._shape = observation_space.shape
        if not are_of_tokens(observation_space, action_space, self._count):
            raise ValueError(
                f"The language model {language_model} reads windows of {self._count:,} tokens, not observations in "
                f"{observation_space} and actions in {action_space}; leave --ensemble.language-model out."
            )
        letters = [piece.strip() for piece in pieces_of(language_model)]
        self._is_long = np.array([len(word) >= _LONG_TOKEN and word.isalpha() for word in letters])
        vectors = self._model.word_vectors().double().numpy()
        vectors = vectors - vectors.mean(axis=0)
        _, deviations, axes = np.linalg.svd(vectors, full_matrices=False)
        kept = min(_WORD_COLUMNS, len(deviations))
        self._words = (vectors @ axes[:kept].T).astype(np.float32)
        self.normalised = [True, False, False, *[True] * kept]
        self.columns = [
            *(InputSource("likelihood", 0), InputSource("repetition", 0), InputSource("repetition", 1)),
            *[InputSource("embedding", 0)] * kept,
        ]

    def read(self, observations: NDArray[Any], actions: NDArray[Any]) -> NDArray[np.float32]:
        """The columns (B, columns) of B steps; observations (B, window), actions (B,).

        Raises:
            ValueError: if the arrays are not of the spaces.
        """
        expected = (len(actions), *(self._shape or ()))
        if observations.shape != expected:
            raise ValueError(
                f"A batch of {len(actions)} steps needs observations of shape {expected}, not {observations.shape}."
            )
        columns = np.empty((len(actions), len(self.normalised)), np.float32)
        for start in range(0, len(actions), _TEXTS_AT_ONCE):
            some = slice(start, start + _TEXTS_AT_ONCE)
            columns[some] = self._read_some(observations[some], actions[some].astype(np.int64))
        return columns

    def _read_some(self, windows: NDArray[Any], actions: NDArray[np.int64]) -> NDArray[np.float32]:
        with torch.inference_mode():
            scores = torch.log_softmax(self._model.logits(self._read_ends(self._model, windows)), dim=1)
            likelihood = scores[torch.arange(len(actions)), torch.from_numpy(actions)].numpy()
        last = windows[np.arange(len(windows)), self._lengths_of(windows, self._count) - 1]
        again = windows == actions[:, None]
        pair = (again[:, 1:] & (windows[:, :-1] == last[:, None])).any(axis=1)
        word = again.any(axis=1) & self._is_long[actions]
        dense = np.stack([np.maximum(likelihood, _LEAST_LIKELY), pair, word], axis=1)
        return np.concatenate([dense, self._words[actions]], axis=1, dtype=np.float32)


def thumbnails(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pictures (B, channels, height, width), of which blocks of pixels are averaged."""
    block = max(min(pictures.shape[2:]) // _THUMBNAIL_SIDE, 1)
    return functional.avg_pool2d(torch.from_numpy(pictures), block).numpy()


class _Part:
    """One part of a space: which columns, images and tables it yields, and how."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.name = name
        self.shape = shape
        self.normalised: list[bool] = []
        self.image_shapes: list[tuple[int, int, int]] = []
        self.vocabularies: list[int] = []

    @property
    def columns(self) -> list[int]:
        """Which number of the part each vector column is from."""
        return list(range(len(self.normalised)))

    @property
    def tables(self) -> list[int]:
        """Which number of the part each embedded category is."""
        return []

    def encode(self, values: NDArray[Any], batch: int) -> Encoded:
        values = np.asarray(values)
        if values.shape != (batch, *self.shape):
            raise ValueError(
                f"A batch of {batch} steps needs {self.name} of shape {(batch, *self.shape)}, not {values.shape}."
            )
        return Encoded(self._vector(values), self._images(values), self._categories(values))

    def _vector(self, values: NDArray[Any]) -> NDArray[np.float32]:
        return np.zeros((len(values), 0), np.float32)

    def _images(self, values: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        return ()

    def _categories(self, values: NDArray[Any]) -> NDArray[np.int64]:
        return np.zeros((len(values), 0), np.int64)


class _Floats(_Part):
    """A Box as columns; `bounded` ones are scaled to [-1, 1] by the bounds of the space where these are finite."""

    def __init__(self, name: str, space: spaces.Box, bounded: bool) -> None:
        super().__init__(name, space.shape)
        low, high = space.low.reshape(-1).astype(np.float64), space.high.reshape(-1).astype(np.float64)
        # A span that overflows float32 is "unbounded" written as the largest float.
        scaled = bounded & np.isfinite(low) & np.isfinite(high) & (high > low) & (np.abs(high) + np.abs(low) < 1e30)
        self.normalised = [not flag for flag in scaled]
        middle, half = np.zeros(len(low)), np.ones(len(low))
        middle[scaled] = (low[scaled] + high[scaled]) / 2
        half[scaled] = (high[scaled] - low[scaled]) / 2
        self._middle: NDArray[np.float32] = middle.astype(np.float32)
        self._half: NDArray[np.float32] = half.astype(np.float32)
        self._plain = not scaled.any()

    def _vector(self, values: NDArray[Any]) -> NDArray[np.float32]:
        flat: NDArray[np.float32] = values.reshape(len(values), len(self.normalised)).astype(np.float32, copy=False)
        return flat if self._plain else (flat - self._middle) / self._half


class _Image(_Part):
    """A uint8 picture, (H, W), (H, W, C) or (C, H, W)."""

    def __init__(self, name: str, space: spaces.Box) -> None:
        super().__init__(name, space.shape)
        self._channels_last = len(space.shape) == 3 and int(np.argmin(space.shape)) != 0
        if len(space.shape) == 2:
            channels, height, width = 1, space.shape[0], space.shape[1]
        elif self._channels_last:
            height, width, channels = space.shape
        else:
            channels, height, width = space.shape
        side = _SMALL_SIDE if min(height, width) < _LARGE_SIDE * 3 // 2 else _LARGE_SIDE
        self._shrink = max(1, min(height, width) // side)
        self._full_shape = (channels, height, width)
        height, width = height // self._shrink, width // self._shrink
        self.image_shapes = [(channels, height, width)]
        self.normalised = [True] * thumbnails(np.zeros((1, channels, height, width), np.float32)).size

    @property
    def columns(self) -> list[int]:
        """A thumbnail is the picture as a whole."""
        return [0] * len(self.normalised)

    def encode(self, values: NDArray[Any], batch: int) -> Encoded:
        encoded = super().encode(values, batch)
        [image] = encoded.images
        return Encoded(thumbnails(image).reshape(batch, len(self.normalised)), encoded.images, encoded.categories)

    def _images(self, values: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        shrunk = np.empty((len(values), *self.image_shapes[0]), np.float32)
        for start in range(0, len(values), _PICTURES_AT_ONCE):
            pixels = values[start : start + _PICTURES_AT_ONCE].astype(np.uint8, copy=False)
            pixels = pixels.transpose(0, 3, 1, 2) if self._channels_last else pixels.reshape(-1, *self._full_shape)
            floats = torch.from_numpy(np.array(pixels, order="C")).float().div_(255)
            shrunk[start : start + len(pixels)] = functional.avg_pool2d(floats, self._shrink).numpy()
        return (shrunk,)


class _Categories(_Part):
    """One or more categories: small ones as one-hot columns, large ones as rows of an embedding table."""

    def __init__(self, name: str, shape: tuple[int, ...], counts: NDArray[Any], starts: NDArray[Any]) -> None:
        super().__init__(name, shape)
        self._counts = counts.reshape(-1).astype(np.int64)
        self._starts = starts.reshape(-1).astype(np.int64)
        self._small = np.flatnonzero(self._counts <= ONE_HOT_LIMIT)
        self._large = np.flatnonzero(self._counts > ONE_HOT_LIMIT)
        self._offsets = np.concatenate([[0], np.cumsum(self._counts[self._small])])
        self.normalised = [False] * int(self._offsets[-1])
        self.vocabularies = [int(self._counts[index]) for index in self._large]

    @property
    def columns(self) -> list[int]:
        """Which of the categories each column of a one-hot is from."""
        return np.repeat(self._small, self._counts[self._small]).tolist()

    @property
    def tables(self) -> list[int]:
        """Which of the categories have an embedding table."""
        return [int(index) for index in self._large]

    def _vector(self, values: NDArray[Any]) -> NDArray[np.float32]:
        columns = np.zeros((len(values), int(self._offsets[-1])), np.float32)
        np.put_along_axis(columns, self._indices(values)[:, self._small] + self._offsets[:-1], 1.0, axis=1)
        return columns

    def _categories(self, values: NDArray[Any]) -> NDArray[np.int64]:
        return self._indices(values)[:, self._large]

    def _indices(self, values: NDArray[Any]) -> NDArray[np.int64]:
        indices = values.reshape(len(values), len(self._counts)).astype(np.int64) - self._starts
        if indices.size and (indices.min() < 0 or (indices >= self._counts).any()):
            raise ValueError(f"The {self.name} hold a value outside of their space.")
        return indices


class _Bits(_Part):
    """Numbers that are 0 or 1, as columns."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        super().__init__(name, shape)
        self.normalised = [False] * int(np.prod(shape))

    def _vector(self, values: NDArray[Any]) -> NDArray[np.float32]:
        return values.reshape(len(values), len(self.normalised)).astype(np.float32)


def _observation_parts(space: spaces.Space[Any]) -> Iterator[tuple[str | None, _Part]]:
    if isinstance(space, spaces.Dict):
        for key, part in space.spaces.items():
            yield key, _part(f"observations[{key!r}]", part, _SUPPORTED_OBSERVATIONS)
    else:
        yield None, _part("observations", space, _SUPPORTED_OBSERVATIONS)


def _part(name: str, space: spaces.Space[Any], supported: str, is_action: bool = False) -> _Part:
    if isinstance(space, spaces.Box):
        return _Image(name, space) if is_image(space) and not is_action else _Floats(name, space, bounded=is_action)
    if isinstance(space, spaces.Discrete):
        return _Categories(name, (), np.array([space.n]), np.array([space.start]))
    if isinstance(space, spaces.MultiDiscrete):
        return _Categories(name, space.shape, space.nvec, space.start)
    if isinstance(space, spaces.MultiBinary):
        return _Bits(name, space.shape)
    raise ValueError(f"The reward model cannot read {name} of space {space}; supported are {supported}.")


def _pick(observations: Observations, key: str | None) -> NDArray[Any]:
    if key is None:
        if isinstance(observations, Mapping):
            raise ValueError("The observation space is not a Dict, so observations must be one array, not a dict.")
        return observations
    if not isinstance(observations, Mapping) or key not in observations:
        raise ValueError(f"Observations of this Dict space need the key {key!r}.")
    return observations[key]
