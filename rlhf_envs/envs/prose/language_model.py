"""A small causal language model: the network, how it is stored, and how it reads many growing texts at once.

The network is a decoder-only transformer with pre-normalisation and tied embeddings (Radford et al. 2019, "Language
models are unsupervised multitask learners"), small enough that fine-tuning it takes minutes on two CPU cores.

Texts come as windows of token ids, left-aligned and filled up with `padding`, which is one more than the largest id. In
reinforcement learning most windows are prefixes of others: the steps of an episode are one text, read further and
further. `read_ends` therefore passes each text through the network once, and `GrowingTexts` only its newest token.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

FOLDER = Path(__file__).parent
VOCABULARY_FILE = FOLDER / "vocabulary.json"
OWN, UNTRAINED, JUDGE = "prose", "prose-untrained", "prose-judge"
"""Models of this package by name: the one that writes, the same before its training, and the one that judges."""
_FILES = {OWN: "writer.safetensors", UNTRAINED: "writer.safetensors", JUDGE: "judge.safetensors"}

_LEVELS = 127
_INITIAL_STD = 0.02


class CausalModel(Protocol):
    """What a language model must be able to do, ours or one of Hugging Face: an `nn.Module` with these members.

    Attributes:
        vocabulary: number of tokens.
        width: of the hidden features.
        context: how many tokens it can read.
    """

    vocabulary: int
    width: int
    context: int

    def features(self, tokens: Tensor) -> Tensor:
        """What it makes of B texts, (B, T) int64, after each of their tokens, (B, T, width)."""

    def logits(self, features: Tensor) -> Tensor:
        """Unnormalised log-probabilities of the next token, (..., vocabulary), from features (..., width)."""

    def word_vectors(self) -> Tensor:
        """The embeddings of all tokens, (vocabulary, width)."""


class LanguageModel(nn.Module):
    """A decoder-only transformer.

    Args:
        vocabulary: number of tokens.
        width: of the hidden features; a multiple of `heads`.
        layers, heads: of attention.
        context: how many tokens it can read.
    """

    def __init__(self, vocabulary: int, width: int, layers: int, heads: int, context: int) -> None:
        super().__init__()
        self.vocabulary, self.width, self.layers, self.heads, self.context = vocabulary, width, layers, heads, context
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.zeros(context, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def initialise(self, seed: int) -> None:
        """Draw initial weights; the global random generators are not used."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if parameter.ndim == 2:
                    std = _INITIAL_STD / (2 * self.layers) ** 0.5 if name.endswith("out.weight") else _INITIAL_STD
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
                else:
                    parameter.fill_(1.0 if name.endswith("norm.weight") else 0.0)

    @property
    def shape(self) -> dict[str, int]:
        """The arguments it was made with."""
        return {name: getattr(self, name) for name in ("vocabulary", "width", "layers", "heads", "context")}

    def features(self, tokens: Tensor) -> Tensor:
        """See `CausalModel`."""
        values = self.embedding(tokens) + self.positions[: tokens.shape[1]]
        for block in self.blocks:
            values, _ = block(values)
        normed: Tensor = self.norm(values)
        return normed

    def logits(self, features: Tensor) -> Tensor:
        """See `CausalModel`."""
        return functional.linear(features, self.embedding.weight)

    def word_vectors(self) -> Tensor:
        """See `CausalModel`."""
        return self.embedding.weight


class Block(nn.Module):
    """One layer: attention to what came before, then a perceptron, each added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.network_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.attend_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.network, self.network_out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(
        self, values: Tensor, before: tuple[Tensor, Tensor] | None = None, places: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The layer's output (B, T, width), and the keys and values that it attended to, each (B, heads, ., depth).

        Args:
            values: (B, T, width); one token each, T = 1, where there is `before`.
            before: keys and values of earlier tokens (B, heads, L, depth), changed in place to hold this one as well.
            places: (B,) int64, where in the text that token is.
        """
        batch, length, width = values.shape
        parts = self.attend(self.attention_norm(values)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        if before is None or places is None:
            found = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            rows = torch.arange(batch, device=values.device)
            before[0][rows, :, places], before[1][rows, :, places] = key[:, :, 0], value[:, :, 0]
            key, value = before
            seen = torch.arange(key.shape[2], device=places.device) <= places[:, None]
            found = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen[:, None, None])
        values = values + self.attend_out(found.transpose(1, 2).reshape(batch, length, width))
        values = values + self.network_out(functional.gelu(self.network(self.network_norm(values))))
        return values, (key, value)


def are_of_tokens(observation_space: spaces.Space[Any], action_space: spaces.Space[Any], vocabulary: int) -> bool:
    """Whether observations are windows of so many tokens and their padding, and actions the next token."""
    return (
        isinstance(observation_space, spaces.MultiDiscrete)
        and observation_space.nvec.ndim == 1
        and bool((observation_space.nvec == vocabulary + 1).all())
        and bool(action_space == spaces.Discrete(vocabulary))
    )


def lengths_of(windows: NDArray[Any], vocabulary: int) -> NDArray[np.intp]:
    """How many tokens each of B windows (B, T) holds before its padding, (B,)."""
    return (windows < vocabulary).sum(axis=1)


def read_ends(model: CausalModel, windows: NDArray[Any]) -> Tensor:
    """What a model makes of the last token of each of B windows, (B, width).

    A window that is the beginning of another one is read along with that.

    Args:
        model: with gradients where PyTorch's mode asks for them.
        windows: (B, T) token ids, left-aligned; at least one token each.
    """
    lengths = lengths_of(windows, model.vocabulary)
    ends, whole = merge_prefixes(windows, lengths)
    longest = int(lengths.max())
    device = model.word_vectors().device
    texts = torch.from_numpy(windows[whole, :longest].astype(np.int64)).to(device)
    features = model.features(texts.clamp_(max=model.vocabulary - 1))
    return features[torch.from_numpy(ends).to(device), torch.from_numpy(lengths - 1).to(device)]


def merge_prefixes(windows: NDArray[Any], lengths: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which texts hold which windows.

    Args:
        windows: (B, T) token ids, left-aligned.
        lengths: (B,) of them.

    Returns:
        For every window the number of a text that begins with it, (B,); and of every text, which window it is, (R,).
    """
    batch, width = windows.shape
    inside = np.arange(width) < lengths[:, None]
    # Padding comes before every token, so that a window is followed by those that begin with it.
    ranked = np.where(inside, windows.astype(np.int64) + 1, 0)
    order = np.lexsort(ranked.T[::-1])
    ordered = ranked[order]
    differs = (ordered[1:] != ordered[:-1]) & inside[order][:-1]
    is_text = np.append(differs.any(axis=1), True)
    texts = np.flatnonzero(is_text)
    ends = np.empty(batch, dtype=np.intp)
    ends[order] = np.searchsorted(texts, np.arange(batch))
    return ends, order[texts]


class GrowingTexts:
    """Reads N texts of which most have grown by one token since the last time, keeping what attention needs of them.

    The result is that of `read_ends` up to rounding. A model of another class than `LanguageModel` reads everything
    anew. Nothing has to be reset: texts that did not grow from the last ones, and a model whose weights have changed,
    are noticed. A pickled one has the model only.
    """

    def __init__(self, model: CausalModel) -> None:
        self.model = model
        self._windows: NDArray[Any] = np.zeros((0, 0), np.int64)
        self._lengths: NDArray[np.intp] = np.zeros(0, np.intp)
        self._memory: list[tuple[Tensor, Tensor]] = []
        self._version: tuple[int, ...] = ()
        self._features = torch.zeros(0)

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self.model}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["model"])  # type: ignore[misc]

    @torch.no_grad()
    def read(self, windows: NDArray[Any]) -> Tensor:
        """What the model makes of the last token of each window, (N, width); `windows` as for `read_ends`."""
        model = self.model
        if not isinstance(model, LanguageModel):
            return read_ends(model, windows)
        lengths = lengths_of(windows, model.vocabulary)
        version = tuple(parameter._version for parameter in model.parameters())
        if windows.shape != self._windows.shape or version != self._version:
            grown = np.zeros(len(windows), dtype=bool)
            depth = model.width // model.heads
            shape = len(windows), model.heads, windows.shape[1], depth
            like = model.word_vectors()
            self._memory = [(like.new_zeros(shape), like.new_zeros(shape)) for _ in model.blocks]
        else:
            if np.array_equal(windows, self._windows):
                return self._features
            before = np.arange(windows.shape[1]) < self._lengths[:, None]
            same = ((windows == self._windows) | ~before).all(axis=1)
            grown = same & (lengths == self._lengths + 1)
        self._windows, self._lengths, self._version = windows.copy(), lengths, version
        features = model.word_vectors().new_empty((len(windows), model.width))
        if (rows := np.flatnonzero(grown)).size:
            features[self._there(rows)] = self._read_newest(rows, windows, lengths)
        if (rows := np.flatnonzero(~grown)).size:
            features[self._there(rows)] = self._read_whole(rows, windows, lengths)
        self._features = features
        return features

    def _read_newest(self, rows: NDArray[np.intp], windows: NDArray[Any], lengths: NDArray[np.intp]) -> Tensor:
        model = self.model
        assert isinstance(model, LanguageModel)
        places = self._there(lengths[rows] - 1)
        newest = self._there(windows[rows, lengths[rows] - 1])
        values = (model.embedding(newest) + model.positions[places])[:, None]
        everyone, which = len(rows) == len(windows), self._there(rows)
        for block, memory in zip(model.blocks, self._memory, strict=True):
            taken = memory if everyone else (memory[0][which], memory[1][which])
            values, _ = block(values, taken, places)
            if not everyone:
                memory[0][which], memory[1][which] = taken
        normed: Tensor = model.norm(values[:, 0])
        return normed

    def _read_whole(self, rows: NDArray[np.intp], windows: NDArray[Any], lengths: NDArray[np.intp]) -> Tensor:
        model = self.model
        assert isinstance(model, LanguageModel)
        longest = int(lengths[rows].max())
        texts, which = self._there(windows[rows, :longest]).clamp_(max=model.vocabulary - 1), self._there(rows)
        values = model.embedding(texts) + model.positions[:longest]
        for block, memory in zip(model.blocks, self._memory, strict=True):
            values, (keys, found) = block(values)
            memory[0][which, :, :longest], memory[1][which, :, :longest] = keys, found
        normed: Tensor = model.norm(
            values[torch.arange(len(rows), device=which.device), self._there(lengths[rows] - 1)]
        )
        return normed

    def _there(self, numbers: NDArray[Any]) -> Tensor:
        """Numbers where the model computes, int64."""
        return torch.from_numpy(numbers.astype(np.int64)).to(self.model.word_vectors().device)


def save_model(model: LanguageModel, path: Path, whole_numbers: bool = False) -> None:
    """Write weights with 16 bits each, or with `whole_numbers` matrices with 8 and a scale for every row."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.state_dict().items():
        if whole_numbers and parameter.ndim == 2:
            scale = parameter.abs().amax(dim=1, keepdim=True).clamp(min=1e-8) / _LEVELS
            tensors[name] = (parameter / scale).round().to(torch.int8)
            tensors[f"{name}.scale"] = scale.squeeze(1)
        else:
            tensors[name] = parameter.half()
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, {"shape": json.dumps(model.shape)})


def load_model(name: str, dtype: torch.dtype = torch.float32) -> Any:
    """A new copy of a model's network.

    Args:
        name: one of this package's, or the folder of a causal model of Hugging Face.
        dtype: of its weights.

    Raises:
        ValueError: if there is no such model.
    """
    if name not in _FILES:
        return HuggingFaceModel(name, dtype)
    with safe_open(FOLDER / _FILES[name], framework="pt") as content:
        shape = json.loads((content.metadata() or {})["shape"])
        tensors = {key: content.get_tensor(key).to(dtype) for key in content.keys()}  # noqa: SIM118
    # On the meta device nothing is drawn for weights that are read or initialised at once.
    with torch.device("meta"):
        model = LanguageModel(**shape)
    model = model.to_empty(device="cpu").to(dtype)
    if name == UNTRAINED:
        model.initialise(seed=0)
        return model
    scales = {key.removesuffix(".scale"): tensors.pop(key) for key in list(tensors) if key.endswith(".scale")}
    model.load_state_dict(
        {key: value * scales[key][:, None] if key in scales else value for key, value in tensors.items()}
    )
    return model


@lru_cache(maxsize=8)
def frozen_model(name: str, dtype: torch.dtype = torch.float32) -> Any:
    """The model of a name, shared by all who only read with it."""
    model = load_model(name, dtype)
    return model.requires_grad_(False).eval()


class HuggingFaceModel(nn.Module):
    """A causal model of Hugging Face, read from a folder of this machine.

    Only safetensors files are read, no code of the folder is run, and nothing is fetched.

    Args:
        folder: as `save_pretrained` writes it, with model and tokenizer.
        dtype: of the weights.

    Raises:
        ValueError: if transformers is not installed, or there is no such model in the folder.
    """

    def __init__(self, folder: str, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.folder = folder
        loaded = _from_folder(folder, "AutoModelForCausalLM", use_safetensors=True, dtype=dtype)
        # What it does at random is for training it in other ways than this.
        self.inner: Any = loaded.eval()
        self.vocabulary = int(self.word_vectors().shape[0])
        self.width = int(self.inner.get_output_embeddings().in_features)
        self.context = int(getattr(self.inner.config, "max_position_embeddings", 512))

    def train(self, mode: bool = True) -> HuggingFaceModel:
        """Stay as it acts, without dropout: the likelihood of an action must not change between rollout and update."""
        return super().train(False)

    def features(self, tokens: Tensor) -> Tensor:
        """See `CausalModel`."""
        last: Tensor = self.inner(tokens, output_hidden_states=True, use_cache=False).hidden_states[-1]
        return last

    def logits(self, features: Tensor) -> Tensor:
        """See `CausalModel`."""
        found: Tensor = self.inner.get_output_embeddings()(features)
        return found

    def word_vectors(self) -> Tensor:
        """See `CausalModel`."""
        vectors: Tensor = self.inner.get_input_embeddings().weight
        return vectors


def _from_folder(folder: str, kind: str, **how: Any) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ValueError(
            f"There is no language model {folder!r} in this package, and to read one of Hugging Face from a folder "
            'install transformers: pip install "rlhf-envs[transformers]".'
        ) from error
    if not (Path(folder) / "config.json").is_file():
        raise ValueError(
            f"{folder} is no folder of a causal language model of Hugging Face: it has no config.json. Models are read "
            "from folders of this machine, as save_pretrained writes them."
        )
    try:
        return getattr(transformers, kind).from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **how
        )
    except (OSError, ValueError, ImportError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ValueError(f"{folder} cannot be read as a causal language model: {reason}.") from error


@lru_cache(maxsize=4)
def pieces_of(name: str) -> tuple[str, ...]:
    """The text of every token of a model's vocabulary, with a space before it where it begins a word.

    Raises:
        ValueError: if there is no such model.
    """
    if name in _FILES:
        return own_pieces()
    tokenizer = _from_folder(name, "AutoTokenizer")
    # What a token adds to a text shows only behind another one.
    start = tokenizer.encode("a", add_special_tokens=False)[-1]
    count = frozen_model(name).vocabulary
    before = len(tokenizer.decode([start]))
    texts = tokenizer.batch_decode([[start, token] for token in range(count)]) if count else []
    return tuple(text[before:] for text in texts)


def tokens_of(name: str, texts: Sequence[str]) -> list[list[int]]:
    """Texts as tokens of a model of Hugging Face."""
    tokenizer = _from_folder(name, "AutoTokenizer")
    found: list[list[int]] = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    return found


@lru_cache(maxsize=1)
def own_pieces() -> tuple[str, ...]:
    """The text of every token of this package's vocabulary."""
    vocabulary: dict[str, int] = json.loads(VOCABULARY_FILE.read_text(encoding="utf-8"))["model"]["vocab"]
    # The byte-level alphabet writes a space as the letter Ġ; all else in it is ASCII as it is.
    return tuple(
        sorted((piece.replace("Ġ", " ") for piece in vocabulary), key=lambda piece: vocabulary[piece.replace(" ", "Ġ")])
    )


def text_of(tokens: Sequence[int], pieces: Sequence[str]) -> str:
    """Tokens as text, padding left out."""
    return "".join(pieces[token] for token in tokens if token < len(pieces))
