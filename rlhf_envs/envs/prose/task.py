"""`rlhf/Prose-v0`: the beginning of a sentence, what a language model goes on with, and how that is judged."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete, MultiDiscrete
from numpy.typing import NDArray

from rlhf_envs.envs.prose.language_model import (
    JUDGE,
    OWN,
    GrowingTexts,
    frozen_model,
    own_pieces,
    pieces_of,
    text_of,
    tokens_of,
)
from rlhf_envs.envs.task import Array, Draws, Field, Flags, Measure, State, Task, Terms, numbers

FOLDER = Path(__file__).parent
SPLITS = ("train", "test")
PROMPT, CONTEXT = 12, 48
"""Tokens of a prompt, and of the longest text."""

APART = 8
"""So many tokens lie between two warm words at least, for both to count."""
LONG = 4
"""A token of at least this many letters may not be said again."""

LEAST_LIKELY = -12.0
USUAL = 4.0
"""The logarithm of a token's probability below which it is as odd as can be, and less the sign, of a usual token."""

_ROUNDED = 1000.0
_CANDIDATES = 24
_MOST_WORDS = 100_000
_VADER_ALPHA = 15.0
"""By which VADER makes a sum of valences a number from -1 to 1."""

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")


class Prose(Task):
    """Go on with a sentence, token by token, as a language model does.

    ## Description
    A prompt of a few words begins a sentence from a book; the policy writes what follows, one token a step, out of the
    2,048 of a byte-pair vocabulary. People want it to read well and warmly. The text is real English, chapters of
    Moby-Dick and State of the Union addresses, on which two small language models were trained. One of them writes:
    with `--learner.language-model prose`, as the preset has it, the policy *is* that model, with a value head, and
    reinforcement learning goes on where its training has ended. The other one is larger, has read more, is never shown
    to the policy, and judges how fluent a text is.

    That is how language models are adjusted by human feedback (Ziegler et al. 2019, "Fine-tuning language models from
    human preferences"; Stiennon et al. 2020, "Learning to summarize from human feedback"), at a size at which a run
    takes minutes. What is warm is by the lexicon of VADER, whose words people have rated (Hutto & Gilbert 2014, "VADER:
    A parsimonious rule-based model for sentiment analysis of social media text"). Sources and licences are in
    `rlhf_envs/envs/prose/sources.txt`.

    ## Action Space
    `Discrete(2048)`: the next token; `rlhf_envs.envs.prose.language_model.own_pieces` has their texts.

    ## Observation Space
    `MultiDiscrete`, int64: the tokens of prompt and continuation from the first one on, 44 of them; places that are not
    written yet are 2048.

    ## Rewards
    The true reward is the weighted sum of:
    | term | weight | values | meaning |
    |---|---|---|---|
    | warm | 2.0 | -2 to 2 | change of the valence of the word in work, as people have rated it, over 4 |
    | fluent | 0.3 | -2 to 1 | 1 + log p / 4, where p is the judging model's probability of the token; at least -2 |
    | repetition | -0.3 | 0, 1 | a token of four letters or more that the text has already, or a pair of tokens |

    A word of several tokens is worth what it reads as so far, so that the sum over a clip is what is read in it. A warm
    word counts if it is no repetition, and the last one that counted was 8 tokens before or earlier: praise that is
    laid on thick is not liked better. Cold words always count. The picture marks them: a line below a warm word that
    counts, a zigzag below a cold one, dots below what is said again, and a bar for how fluent the text is so far. The
    proxy reward is the number of positive words.

    ## Starting State
    One of some 800 prompts of 12 tokens, the beginnings of sentences from documents that neither model was trained on.

    ## Episode End
    Never terminates; truncated after `horizon` steps.

    ## Arguments
    - `model` (str, "prose"): whose vocabulary is written in. The folder of a causal language model of Hugging Face,
      with its tokenizer, writes in that one's (`pip install "rlhf-envs[transformers]"`); the same model, as it is
      there, then also judges how fluent a text is.
    - `split` (str, "train"): "test" takes prompts that "train" leaves out.
    - `horizon` (int, 32): tokens in a continuation, at most 36.

    ## Why people's judgement helps
    How a text reads is not a formula; people see it in two seconds. What can be counted, such as positive words, makes
    "great great great". Writing takes more keys than a keyboard game has, so there is no keyboard control.

    ## Version History
    - v0: first version.
    """

    # tokens: the text, filled up with the size of the vocabulary; length: of it; start: where its last word begins;
    # worth: what that word has been paid for so far; counted: whether the proxy has; warmed: where the last warm word
    # that counted begins; surprise: -log p of all tokens of the continuation by the judging model.
    fields = {
        "tokens": Field(np.int32, (CONTEXT,)),
        **numbers("length", "start", "warmed", dtype=np.int16),
        **numbers("worth", "surprise"),
        "counted": Field(np.int8),
    }
    reward_weights = {"warm": 2.0, "fluent": 0.3, "repetition": -0.3}
    reset_draws = {"prompt": ()}
    render_fps = 12
    rubric = (
        "Which continuation would you rather read? How well it reads counts most: common words that follow from each "
        "other. A strong warm word is worth about as much, a cold one costs as much; repeating costs little."
    )
    legend = {
        "grey text": "the prompt",
        "dark text": "what is written",
        "green line": "a warm word, the thicker the warmer; of several close together only the first has one",
        "red zigzag": "a cold word, the taller the colder",
        "dots": "said before",
        "cursor, and left bar": "where it goes on, and how much is written",
        "right bar": "how well it reads, as a stronger language model finds",
    }
    in_turns = True
    measures = {
        "valence": Measure(
            "-1 to 1",
            "sum s of what people feel about the words, as VADER's s / sqrt(s² + 15), without rules for negation",
        ),
        "cross_entropy": Measure("nats per token", "of the judging model, whose perplexity is e to that"),
        "distinct_1": Measure("share", "different tokens, of all that were written (Li et al. 2016)"),
        "distinct_2": Measure("share", "different pairs of tokens, of all that were written (Li et al. 2016)"),
        "seq_rep_4": Measure("share", "runs of 4 tokens that were there before (Welleck et al. 2020)"),
    }

    drawing = "rlhf_envs.envs.prose.drawing:draw"

    def __init__(self, model: str = OWN, split: str = "train", horizon: int = 32) -> None:
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {split!r}.")
        if not isinstance(model, str) or not model:
            raise ValueError(f"model must be {OWN!r} or the folder of a language model, not {model!r}.")
        if not 1 <= horizon <= CONTEXT - PROMPT:
            raise ValueError(f"horizon must be a number of tokens from 1 to {CONTEXT - PROMPT}, not {horizon!r}.")
        self.model, self.split = model, split
        self.pieces = pieces_of(model)
        self.vocabulary = len(self.pieces)
        self.window = PROMPT + int(horizon)
        self.observation_space = MultiDiscrete(np.full(self.window, self.vocabulary + 1))
        self.action_space = Discrete(self.vocabulary)
        self._prompts = prompts(model, split)
        letters = [piece.strip() for piece in self.pieces]
        self._begins_word = np.array(
            [piece[:1] != piece.strip()[:1] or not piece[:1].isalpha() for piece in self.pieces]
        )
        self._ends_open = np.array([piece[-1:].isalpha() for piece in self.pieces])
        self._is_long = np.array([len(word) >= LONG and word.isalpha() for word in letters])
        lexicon = valence()
        self._alone = np.array([lexicon.get(word.lower(), 0.0) for word in letters], np.float32) / 4
        self._alone[~self._begins_word] = 0
        self._worths: dict[tuple[int, ...], float] = {}
        # In float64, so that what a copy is paid does not depend on which others are read along with it.
        self._judge = GrowingTexts(frozen_model(JUDGE if model == OWN else model, torch.float64))
        super().__init__(horizon)

    def __getstate__(self) -> dict[str, Any]:
        kept = self.__dict__.copy()
        del kept["_judge"], kept["_worths"]
        return kept

    def __setstate__(self, kept: dict[str, Any]) -> None:
        self.__dict__.update(kept)
        self._worths = {}
        self._judge = GrowingTexts(frozen_model(JUDGE if self.model == OWN else self.model, torch.float64))

    def begin(self, state: State, draws: Draws) -> None:
        """A prompt, and nothing written."""
        state.tokens = self.vocabulary
        state.tokens[:PROMPT] = self._prompts[(draws.prompt * len(self._prompts)).astype(np.intp)].T
        state.length, state.start, state.warmed = PROMPT, PROMPT, -APART
        state.worth, state.counted, state.surprise = 0, 0, 0

    def advance(self, state: State, actions: NDArray[Any], draws: Draws) -> tuple[Terms, Array]:
        """Judge the token, and write it."""
        rows = np.arange(state.copies)
        likelihood = self._log_probabilities(state)[rows, actions]
        state.surprise -= likelihood
        repeated = self._repeated(state, actions)
        begins = self._begins_word[actions] | ~self._ends_open[state.tokens[state.length - 1, rows]]
        before = np.where(begins, np.float32(0), state.worth)
        counted = np.where(begins, 0, state.counted)
        state.start = np.where(begins, state.length, state.start)
        # Who steps on beyond the end writes over the last token.
        state.tokens[np.minimum(state.length, self.window - 1), rows] = actions
        state.length = np.minimum(state.length + 1, self.window)
        read = self._read_words(state)
        warm = (read > 0) & ~repeated & ((state.start - state.warmed >= APART) | (state.start == state.warmed))
        state.warmed = np.where(warm, state.start, state.warmed)
        state.worth = np.where(warm | (read < 0), read, 0)
        state.counted = read > 0
        terms = {
            "warm": state.worth - before,
            "fluent": 1 + np.maximum(likelihood, LEAST_LIKELY) / USUAL,
            "repetition": repeated.astype(np.float32),
        }
        return terms, (state.counted - counted).astype(np.float32)

    def measure(self, state: State) -> dict[str, NDArray[Any]]:
        """How warm, likely and varied the continuations are, each (N,)."""
        written = np.maximum(state.length - PROMPT, 1)
        texts = [
            tokens[PROMPT:length] for tokens, length in zip(state.tokens.T.tolist(), state.length.tolist(), strict=True)
        ]
        felt = np.array(
            [self._felt(tokens, length) for tokens, length in zip(state.tokens.T, state.length, strict=True)]
        )
        return {
            "valence": felt / np.sqrt(felt**2 + _VADER_ALPHA),
            "cross_entropy": state.surprise / written,
            "distinct_1": np.array([_distinct(text, 1) for text in texts]),
            "distinct_2": np.array([_distinct(text, 2) for text in texts]),
            "seq_rep_4": 1 - np.array([_distinct(text, 4) for text in texts]),
        }

    def _felt(self, tokens: NDArray[Any], length: int) -> float:
        """The sum of the valences of a continuation's words."""
        text = text_of(tokens[PROMPT:length].tolist(), self.pieces).lower()
        return sum(valence().get(word, 0.0) for word in _WORD.findall(text))

    def _log_probabilities(self, state: State) -> NDArray[np.float64]:
        """Of every token as the next one, by the judging model, (N, vocabulary); rounded, see `_ROUNDED`."""
        windows = np.ascontiguousarray(state.tokens.T)
        with torch.no_grad():
            scores = torch.log_softmax(self._judge.model.logits(self._judge.read(windows)), dim=1).numpy()
        # How the last digits come out depends on how many copies there are.
        rounded: NDArray[np.float64] = np.rint(scores * _ROUNDED) / _ROUNDED
        return rounded

    def _repeated(self, state: State, actions: NDArray[Any]) -> Flags:
        """Whether each token, written next, says something again, (N,)."""
        rows = np.arange(state.copies)
        again = state.tokens == actions
        last = state.tokens[state.length - 1, rows]
        pair: Flags = (again[1:] & (state.tokens[:-1] == last)).any(axis=0)
        return pair | (again.any(axis=0) & self._is_long[actions])

    def _read_words(self, state: State) -> Array:
        """The valence of each text's last word as far as it is written, over 4, (N,)."""
        found = np.empty(state.copies, np.float32)
        tokens = np.ascontiguousarray(state.tokens.T)
        for row, (start, stop) in enumerate(zip(state.start.tolist(), state.length.tolist(), strict=True)):
            found[row] = self._worth_of(tokens[row, start:stop].tolist())
        return found

    def _worth_of(self, tokens: list[int]) -> float:
        """The valence of a word, over 4."""
        key = tuple(tokens)
        worth = self._worths.get(key)
        if worth is None:
            if len(self._worths) >= _MOST_WORDS:
                self._worths.clear()
            word = text_of(tokens, self.pieces).strip().lower()
            worth = self._worths[key] = valence().get(word, 0.0) / 4
        return worth

    def marks(self, tokens: list[int]) -> list[tuple[float, bool]]:
        """What counts in a text of that many tokens besides how fluent it is, as `advance` pays for it.

        Returns:
            For each token what its word is worth by its last token, and whether it says something again; of the prompt
            0 and False.
        """
        marks, start, warmed = [(0.0, False)] * min(PROMPT, len(tokens)), PROMPT, -APART
        seen = set(tokens[:PROMPT])
        pairs = set(pairwise(tokens[:PROMPT]))
        for place in range(PROMPT, len(tokens)):
            last, token = tokens[place - 1], tokens[place]
            if self._begins_word[token] or not self._ends_open[last]:
                start = place
            repeated = (last, token) in pairs or (token in seen and bool(self._is_long[token]))
            read = self._worth_of(tokens[start : place + 1])
            if read > 0:
                if not repeated and (start - warmed >= APART or start == warmed):
                    warmed = start
                else:
                    read = 0.0
            marks[start:] = [(read, again) for _, again in marks[start:]]
            marks.append((read, repeated))
            seen.add(token)
            pairs.add((last, token))
        return marks

    def observe(self, state: State) -> NDArray[np.int64]:
        """The tokens, (N, 12 + horizon) int64."""
        return state.tokens[: self.window].T.astype(np.int64)

    def text(self, tokens: NDArray[Any]) -> str:
        """An observation as it reads."""
        return text_of(tokens.tolist(), self.pieces).strip()

    def expert_action(self, state: State) -> NDArray[np.intp]:
        """Of the tokens that the judge finds likely, and warm words, the one that is paid best, (N,)."""
        likelihood = self._log_probabilities(state)
        weights = self.reward_weights
        worth = weights["fluent"] * np.maximum(likelihood, LEAST_LIKELY) / USUAL
        may_warm = state.length - state.warmed >= APART
        worth += weights["warm"] * np.where((self._alone < 0) | may_warm[:, None], self._alone, 0)
        # One that is repeated is known only one by one, so it is asked of the best.
        best = np.argsort(-worth, axis=1, kind="stable")[:, :_CANDIDATES]
        rows = np.arange(state.copies)
        chosen, highest = best[:, 0], np.full(state.copies, -np.inf)
        for place in range(best.shape[1]):
            tokens = best[:, place]
            paid = worth[rows, tokens] + 2 * weights["repetition"] * self._repeated(state, tokens)
            chosen, highest = np.where(paid > highest, tokens, chosen), np.maximum(paid, highest)
        return chosen

    def proxy_action(self, state: State) -> NDArray[np.intp]:
        """The most positive word, and again, (N,)."""
        return np.full(state.copies, int(self._alone.argmax()), dtype=np.intp)

    @classmethod
    def describe_term(cls, name: str) -> str:
        """A reward term's name as a person reads it."""
        return {"warm": "warmth", "fluent": "fluency"}.get(name, name)


def _distinct(text: list[int], count: int) -> float:
    """The share of different runs of so many tokens; not a number where a text is shorter."""
    runs = [tuple(text[place : place + count]) for place in range(len(text) - count + 1)]
    return len(set(runs)) / len(runs) if runs else np.nan


@lru_cache(maxsize=1)
def valence() -> dict[str, float]:
    """The words of VADER's lexicon with what people feel about them, from -4 to 4."""
    lines = (FOLDER / "valence.txt").read_text(encoding="utf-8").splitlines()
    return {word: float(rated) for word, rated in (line.split("\t") for line in lines)}


@lru_cache(maxsize=4)
def prompts(model: str, split: str) -> NDArray[np.int32]:
    """The prompts of a split as tokens of a model, (M, PROMPT).

    Raises:
        ValueError: if a model's tokens are so long that no prompt has enough of them.
    """
    with np.load(FOLDER / "prompts.npz", allow_pickle=False) as stored:
        own: NDArray[np.int32] = stored[split].astype(np.int32)
    if model == OWN:
        return own
    encoded = tokens_of(model, [text_of(row.tolist(), own_pieces()).strip() for row in own])
    # Those that come out longer are cut at the front, which leaves the word that is to be gone on from.
    fitting = [tokens[-PROMPT:] for tokens in encoded if len(tokens) >= PROMPT]
    if not fitting:
        raise ValueError(f"{model} writes every prompt in fewer than {PROMPT} tokens; a smaller vocabulary is needed.")
    return np.array(fitting, dtype=np.int32)
