"""What is paid for a text is what is read in it, and language models read as they should."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from agents.config import RunConfig
from agents.train import build
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.envs.prose.language_model import (
    FOLDER,
    JUDGE,
    OWN,
    UNTRAINED,
    GrowingTexts,
    LanguageModel,
    frozen_model,
    lengths_of,
    load_model,
    merge_prefixes,
    own_pieces,
    pieces_of,
    read_ends,
    save_model,
)
from rlhf_envs.envs.prose.task import APART, PROMPT, Prose, prompts, valence
from tests.envs.drawn import Drawn


def token(text: str) -> int:
    return own_pieces().index(text)


def written(words: list[str], **arguments: Any) -> tuple[list[dict[str, float]], list[float], gym.Env[Any, Any]]:
    """The terms and the proxy rewards of these tokens."""
    env, game = (
        gym.make("rlhf/Prose-v0", objective=objective, **arguments).unwrapped for objective in ("true", "proxy")
    )
    env.reset(seed=0)
    game.reset(seed=0)
    terms, proxy = [], []
    for word in words:
        info = env.step(token(word))[4]
        terms.append({name: float(value) for name, value in info["reward_terms"].items()})
        proxy.append(float(game.step(token(word))[1]))
    return terms, proxy, env


def test_warm_words_are_paid_by_what_people_feel_about_them() -> None:
    terms, proxy, _ = written([" great", " the", " war"])
    assert [one["warm"] for one in terms] == pytest.approx([valence()["great"] / 4, 0, valence()["war"] / 4])
    assert proxy == [1, 0, 0]


def test_a_word_of_several_tokens_is_worth_what_it_reads_as_in_the_end() -> None:
    whole = next(
        (first, second)
        for first in own_pieces()
        for second in own_pieces()
        if first[:1] == " "
        and second.isalpha()
        and first.strip() in valence()
        and valence().get((first + second).strip(), 0) * valence()[first.strip()] < 0
    )
    terms, proxy, _ = written(list(whole))
    assert sum(one["warm"] for one in terms) == pytest.approx(valence()["".join(whole).strip()] / 4)
    assert sum(proxy) == (valence()["".join(whole).strip()] > 0)


def test_praise_that_is_laid_on_thick_is_paid_once() -> None:
    near, _, _ = written([" great", " the", " peace"])
    assert near[2]["warm"] == 0
    apart, _, _ = written([" great", *[" the", " of"] * ((APART - 1) // 2 + 1), " peace"])
    assert apart[-1]["warm"] == pytest.approx(valence()["peace"] / 4)


def test_repetitions_cost_and_small_words_may_be_repeated() -> None:
    terms, _, _ = written([" the", " people", " of", " the", " people", ",", " of"])
    assert [one["repetition"] for one in terms] == [0, 0, 0, 0, 1, 0, 0]


def test_fluency_is_the_judges_probability() -> None:
    terms, _, env = written([" the"])
    task: Prose = env.unwrapped.task  # type: ignore[attr-defined]
    env.reset(seed=0)
    prompt = torch.from_numpy(task.observe(env.unwrapped.simulation.state)[:, :PROMPT])  # type: ignore[attr-defined]
    judge = frozen_model(JUDGE, torch.float64)
    with torch.no_grad():
        likelihood = torch.log_softmax(judge.logits(judge.features(prompt)[:, -1]), dim=1)[0, token(" the")]
    assert terms[0]["fluent"] == pytest.approx(1 + float(likelihood) / 4, abs=1e-3)


def test_measures_are_those_of_the_field() -> None:
    words = [" great", " war", " the", " people", " of", " the", " people", " of", " the", " people"]
    env = gym.make("rlhf/Prose-v0", horizon=len(words)).unwrapped
    env.reset(seed=0)
    likely = []
    for word in words:
        info = env.step(token(word))[4]
        likely.append(4 * (float(info["reward_terms"]["fluent"]) - 1))
    measures = info["measures"]
    felt = valence()["great"] + valence()["war"]
    assert measures["valence"] == pytest.approx(felt / (felt**2 + 15) ** 0.5)
    assert min(likely) > -12  # so that no term is cut off
    assert measures["cross_entropy"] == pytest.approx(-np.mean(likely), abs=1e-3)
    assert measures["distinct_1"] == pytest.approx(5 / 10)
    assert measures["distinct_2"] == pytest.approx(5 / 9)
    assert measures["seq_rep_4"] == pytest.approx(2 / 7)


def test_a_clip_can_be_read_off_its_last_picture() -> None:
    """The valence that was paid is that of the words that stand there."""
    env = gym.make_vec("rlhf/Prose-v0", num_envs=16)
    task, simulation = env.unwrapped.task, env.unwrapped.simulation  # type: ignore[attr-defined]
    env.reset(seed=5)
    rng, paid = np.random.default_rng(0), np.zeros(16)
    cold = np.flatnonzero(task._alone < 0)
    for _ in range(31):
        actions = np.where(rng.random(16) < 0.2, rng.choice(cold, 16), task.expert_action(simulation.state))
        paid += env.step(actions)[4]["reward_terms"]["warm"]
    for row in range(16):
        tokens = simulation.state.tokens[PROMPT : simulation.state.length[row], row].tolist()
        read = task.text(np.array(tokens)).lower()
        words = "".join(letter if letter.isalpha() else " " for letter in read).split()
        rated = [valence().get(word, 0.0) / 4 for word in words]
        coldness, warmth = (sum(one for one in rated if one * sign > 0) for sign in (-1, 1))
        assert coldness - 1e-4 <= paid[row] <= coldness + warmth + 1e-4


def test_what_is_paid_besides_fluency_is_marked_in_the_picture() -> None:
    env = gym.make_vec("rlhf/Prose-v0", num_envs=12)
    task, simulation = env.unwrapped.task, env.unwrapped.simulation  # type: ignore[attr-defined]
    env.reset(seed=6)
    rng, drawn = np.random.default_rng(0), Drawn()
    common, rated = np.flatnonzero(task._is_long)[:12], np.flatnonzero(task._alone)
    paid = {"warm": np.zeros(12), "repetition": np.zeros(12)}
    for _ in range(31):
        actions = np.where(rng.random(12) < 0.5, rng.choice(rated, 12), rng.choice(common, 12))
        terms = env.step(actions)[4]["reward_terms"]
        paid = {name: total + terms[name] for name, total in paid.items()}
    assert paid["warm"].min() < 0 < paid["warm"].max() and paid["repetition"].max() > 1
    for row in range(12):
        tokens = simulation.state.tokens[: simulation.state.length[row], row].tolist()
        marks = task.marks(tokens)
        starts = [
            place
            for place in range(PROMPT, len(tokens))
            if place == PROMPT or task._begins_word[tokens[place]] or not task._ends_open[tokens[place - 1]]
        ]
        assert sum(marks[place][0] for place in starts) == pytest.approx(paid["warm"][row], abs=1e-4)
        assert sum(again for _, again in marks) == paid["repetition"][row]
        drawn.clear()
        task.draw(simulation.state.row(row), drawn)
        lines = [box for box in drawn.boxes if box.color == drawn.colors.good]
        zigzags = [values for kind, values in drawn.shapes if kind == "polyline" and values[1] == drawn.colors.bad]
        dots = [box for box in drawn.boxes if box.color == drawn.colors.ink]
        assert bool(lines) == any(worth > 0 for worth, _ in marks)
        assert bool(zigzags) == any(worth < 0 for worth, _ in marks)
        assert bool(dots) == any(again for _, again in marks)


def test_a_bar_says_how_fluent_a_text_is() -> None:
    env = gym.make_vec("rlhf/Prose-v0", num_envs=16)
    task, simulation = env.unwrapped.task, env.unwrapped.simulation  # type: ignore[attr-defined]
    env.reset(seed=8)
    rng, drawn, paid = np.random.default_rng(0), Drawn(), np.zeros(16)
    for _ in range(31):
        writes_well = rng.random(16) < np.linspace(0.5, 1.0, 16)
        actions = np.where(writes_well, task.expert_action(simulation.state), rng.integers(0, task.vocabulary, 16))
        paid += env.step(actions)[4]["reward_terms"]["fluent"]
    widths = []
    for row in range(16):
        drawn.clear()
        task.draw(simulation.state.row(row), drawn)
        widths.append(max((box.width for box in drawn.boxes if box.color == drawn.colors.accent), default=0.0))
    assert len(set(widths)) > 10
    assert np.corrcoef(paid, widths)[0, 1] > 0.95


def test_a_text_keeps_its_size_while_it_is_written() -> None:
    env = gym.make_vec("rlhf/Prose-v0", num_envs=8)
    task, simulation = env.unwrapped.task, env.unwrapped.simulation  # type: ignore[attr-defined]
    env.reset(seed=7)
    drawn, first = Drawn(), []
    for _ in range(32):
        for row in range(8):
            drawn.clear()
            task.draw(simulation.state.row(row), drawn)
            first.append([(text.x, text.y, text.words) for text in drawn.texts[:3]])
        env.step(task.expert_action(simulation.state))
    assert all(first[place] == first[place % 8] for place in range(len(first)))


def test_windows_are_read_with_those_that_begin_with_them() -> None:
    pad = 9
    windows = np.array([[1, 2, pad], [1, 2, 3], [4, pad, pad], [1, 2, pad], [1, 5, pad]])
    ends, texts = merge_prefixes(windows, lengths_of(windows, pad))
    assert sorted(texts.tolist()) == [1, 2, 4]
    assert [texts[end] for end in ends] == [1, 1, 2, 1, 4]


def some_windows(count: int, seed: int = 0) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    windows = rng.integers(0, 2048, (count, 20))
    windows[np.arange(20) >= rng.integers(1, 20, count)[:, None]] = 2048
    return windows


def test_reading_together_and_alone_comes_to_the_same() -> None:
    model = frozen_model(OWN)
    windows = np.repeat(some_windows(6), 3, axis=0)
    windows[1::3, 4:] = 2048
    with torch.no_grad():
        together = read_ends(model, windows)
        for row, length in enumerate(lengths_of(windows, 2048)):
            alone = model.features(torch.from_numpy(windows[row : row + 1, :length]))[0, -1]
            torch.testing.assert_close(together[row], alone, rtol=1e-4, atol=1e-4)


def test_texts_that_grow_are_read_as_if_anew() -> None:
    model = load_model(OWN)
    growing, windows, rng = GrowingTexts(model), some_windows(8), np.random.default_rng(1)
    for step in range(12):
        found = growing.read(windows)
        with torch.no_grad():
            torch.testing.assert_close(found, read_ends(model, windows), rtol=1e-4, atol=1e-4)
        lengths = lengths_of(windows, 2048)
        grow = (rng.random(8) < 0.8) & (lengths < 20)
        windows[np.flatnonzero(grow), lengths[grow]] = rng.integers(0, 2048, grow.sum())
        if step == 5:
            windows[2] = some_windows(1, seed=7)[0]
        if step == 8:
            with torch.no_grad():
                model.positions += 0.1


def test_weights_are_stored_nearly_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LanguageModel(64, 16, 1, 2, 8)
    model.initialise(0)
    for whole_numbers in (False, True):
        save_model(model, tmp_path / "writer.safetensors", whole_numbers)
        monkeypatch.setattr("rlhf_envs.envs.prose.language_model.FOLDER", tmp_path)
        read = load_model(OWN)
        for name, one in model.state_dict().items():
            torch.testing.assert_close(read.state_dict()[name], one, rtol=1e-2, atol=1e-3)


def test_the_files_are_small_and_the_judge_knows_more_than_the_writer() -> None:
    sizes = [(FOLDER / name).stat().st_size for name in ("writer.safetensors", "judge.safetensors", "corpus.txt.xz")]
    assert sum(sizes[:2]) < 4e6 and sizes[2] < 4e6
    texts = torch.from_numpy(prompts(OWN, "test").astype(np.int64))
    losses = {}
    for name in (UNTRAINED, OWN, JUDGE):
        model = frozen_model(name)
        with torch.no_grad():
            logits = model.logits(model.features(texts[:, :-1]))
        losses[name] = float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), texts[:, 1:].flatten()))
    assert losses[JUDGE] < losses[OWN] < losses[UNTRAINED] - 2


def test_steps_beyond_the_end_write_over_the_last_token() -> None:
    _, _, env = written([" the"] * 34 + [" sea"])
    task, state = env.unwrapped.task, env.unwrapped.simulation.state  # type: ignore[attr-defined]
    assert task.text(task.observe(state)[0]).endswith("the sea")


def test_prompts_of_the_splits_differ() -> None:
    train, test = ({tuple(row) for row in prompts(OWN, split).tolist()} for split in ("train", "test"))
    assert len(train) > 500 and not train & test


@pytest.mark.parametrize(
    "arguments, said",
    [
        ({"split": "dev"}, "split must be one of train, test"),
        ({"horizon": 40}, "horizon must be a number of tokens from 1 to 36, not 40"),
        ({"model": ""}, "model must be 'prose' or the folder"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        gym.make("rlhf/Prose-v0", **arguments)


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal model of Hugging Face that knows nothing, with this package's vocabulary as its tokenizer."""
    transformers = pytest.importorskip("transformers", reason="transformers reads models of Hugging Face")
    folder = tmp_path_factory.mktemp("tiny")
    config = transformers.GPT2Config(vocab_size=2048, n_positions=64, n_embd=16, n_layer=1, n_head=2)
    torch.manual_seed(0)
    transformers.GPT2LMHeadModel(config).save_pretrained(folder, safe_serialization=True)
    transformers.PreTrainedTokenizerFast(tokenizer_file=str(FOLDER / "vocabulary.json")).save_pretrained(folder)
    return folder


def test_a_model_of_hugging_face_writes_and_judges(tiny_model: Path) -> None:
    assert pieces_of(str(tiny_model)) == own_pieces()
    env = gym.make_vec("rlhf/Prose-v0", num_envs=3, model=str(tiny_model))
    observations, _ = env.reset(seed=0)
    assert {tuple(row) for row in observations[:, :PROMPT].tolist()} <= {
        tuple(row) for row in prompts(str(tiny_model), "train").tolist()
    }
    _, rewards, _, _, info = env.step(np.array([token(" great")] * 3))
    # Weights that were drawn find all 2,048 tokens about as likely.
    np.testing.assert_allclose(info["reward_terms"]["fluent"], 1 - np.log(2048) / 4, atol=0.1)
    assert np.isfinite(rewards).all()


def test_a_policy_of_hugging_face_learns(tiny_model: Path) -> None:
    config = RunConfig.for_environment(EnvironmentRef("rlhf/Prose-v0", {"model": str(tiny_model)}))
    assert config.ensemble.language_model == config.learner_settings.language_model == str(tiny_model)
    settings = replace(config.learner_settings, num_envs=4, batch_size=128, n_epochs=1)
    env, model = build(replace(config, learner_settings=settings, reward="true"))
    before = {name: one.clone() for name, one in model.policy.state_dict().items()}
    model.learn(128)
    after = model.policy.state_dict()
    assert any(not torch.equal(after[name], one) for name, one in before.items() if name.startswith("model."))
    env.close()


def test_a_folder_that_is_no_model_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"it has no config\.json"):
        gym.make("rlhf/Prose-v0", model=str(tmp_path))
    broken = tmp_path / "pickled"
    shutil.copytree(tiny_model, broken)
    (broken / "model.safetensors").unlink()
    torch.save({"weights": 1}, broken / "pytorch_model.bin")
    with pytest.raises(ValueError, match="cannot be read as a causal language model"):
        gym.make("rlhf/Prose-v0", model=str(broken))


def test_texts_are_read_where_their_model_is() -> None:
    # On the device "meta" nothing is computed, but what lies elsewhere is refused as on a GPU.
    model = LanguageModel(20, 8, 2, 2, 12).to("meta")
    windows = np.full((3, 7), 20)
    windows[:, :2] = 1
    growing = GrowingTexts(model)
    for change in ((slice(None), 2), (0, 3), (slice(1, 3), slice(0, 3))):
        assert growing.read(windows).device.type == "meta"
        windows = windows.copy()
        windows[change] = 5
    assert growing.read(windows).shape == (3, 8)
    assert read_ends(model, windows).device.type == "meta"
