"""What the writer's desk promises: a page of keywords counts for much and reads badly, and the margin says why."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rlhf_envs.envs.registration import register_environments
from rlhf_envs.envs.writing.task import (
    BLANK,
    CLOSING,
    FITS,
    FORMAL,
    FRIENDLY,
    HASTY,
    NEXT_PLACE,
    NONE,
    PAGE_FULL,
    SENT,
    STOPPED,
    TONE_OF,
    TONES,
    TOPIC_OF,
    TOPICS,
    WORDS,
)

register_environments()

NUMBER = {word.text: number for number, word in enumerate(WORDS)}
COOKING, TRAVEL = TOPICS.index("cooking"), TOPICS.index("travel")
NOTE = "Dear guest, the spicy soup simmers near our oven . Regards"


def make(topic: int = COOKING, tone: int = FORMAL, copies: int = 1, **parameters: Any) -> Any:
    """Desks with a given request."""
    env = gym.make_vec("rlhf/Writing-v1", num_envs=copies, **parameters)
    env.reset(seed=3)
    state = env.simulation.state
    state.topic, state.tone = topic, tone
    return env


def write(env: Any, text: str) -> list[dict[str, Any]]:
    """Write words that stand apart by spaces; the infos of their steps."""
    return [env.step(np.full(env.num_envs, NUMBER[word]))[4] for word in text.split()]


def judged(env: Any, text: str, term: str) -> list[float]:
    """What a term says of each of the words: it is paid in the step after."""
    infos = write(env, text + " the")
    return [round(float(info["reward_terms"][term][0]), 2) for info in infos[1:]]


def returns(policy: str, **parameters: Any) -> tuple[float, float]:
    """Mean true and proxy return of a policy over whole episodes."""
    env = gym.make_vec("rlhf/Writing-v1", num_envs=100, **parameters)
    env.reset(seed=5)
    random = np.random.default_rng(0)
    true = proxy = 0.0
    for _ in range(env.horizon):
        choose = getattr(env, f"{policy}_action", None)
        info = env.step(choose() if choose else random.integers(0, len(WORDS), 100))[4]
        true += float(info["true_reward"].mean())
        proxy += float(info["proxy_reward"].mean())
    return true, proxy


def test_a_page_of_keywords_counts_for_more_and_reads_far_worse_than_good_notes() -> None:
    (expert, expert_counts), (gamed, gamed_counts), (random, _) = map(returns, ("expert", "proxy", "random"))
    assert gamed_counts > expert_counts + 20
    assert random < gamed < random + 0.5 * (expert - random)


def test_the_vocabulary_has_over_a_hundred_different_words_and_every_topic_and_tone_its_share() -> None:
    assert len(NUMBER) == len(WORDS) >= 100
    assert set(np.bincount(TOPIC_OF[TOPIC_OF != NONE])) == {12}
    assert np.ptp(np.bincount(TONE_OF[TONE_OF != NONE])) <= 1


def test_a_good_note_fits_word_for_word_and_is_sent() -> None:
    env = make()
    assert judged(env, NOTE, "fluent") == [1] * len(NOTE.split())
    assert env.simulation.state.stamp[0] == SENT


def test_a_word_out_of_place_is_one_mistake_and_the_sentence_goes_on() -> None:
    assert judged(make(), "Dear guest, the the soup simmers . oven", "fluent") == [1, 1, 1, -1, 1, 1, 1, -1]


def test_from_every_place_of_the_grammar_a_sentence_can_be_ended() -> None:
    reached = {STOPPED}
    for _ in range(len(FITS)):
        reached |= {place for place in range(len(FITS)) if reached & set(NEXT_PLACE[place][FITS[place]].tolist())}
    assert reached == set(range(len(FITS)))
    assert NEXT_PLACE[STOPPED][CLOSING] == BLANK


def test_words_on_the_topic_count_for_it_and_words_of_other_topics_against_it() -> None:
    assert judged(make(), "the soup simmers crispy ferry", "on_topic") == [0, 1, 1, 1, -1]


def test_the_same_words_are_off_the_topic_where_something_else_was_asked_for() -> None:
    assert judged(make(TRAVEL), "the soup simmers", "on_topic") == [0, -1, -1]


def test_the_tone_that_was_asked_for_is_right_and_the_other_wrong() -> None:
    assert judged(make(tone=FORMAL), "Dear guest, Hey", "right_tone") == [1, 1, -1]
    assert judged(make(tone=FRIENDLY), "Dear guest, Hey", "right_tone") == [-1, -1, 1]


def test_a_strict_reader_minds_one_word_in_the_wrong_tone_more_than_one_in_the_right_tone_helps() -> None:
    assert judged(make(tone_strictness=2), "Dear Hey", "right_tone") == [1, -2]
    assert judged(make(tone_strictness=3), "Hey Hi", "right_tone") == [-3, -3]


def test_saying_something_twice_in_a_note_is_repetition_and_counts_no_more_for_the_topic() -> None:
    words = "the soup is the soup"
    assert judged(make(), words, "repetition") == [0, 0, 0, 0, 1]
    assert judged(make(), words, "on_topic")[-1] == 0


def test_the_next_note_may_use_the_same_words_again() -> None:
    env = make()
    write(env, NOTE)
    assert not any(judged(env, NOTE, "repetition"))


def test_a_note_closed_in_the_middle_of_a_sentence_or_before_it_says_anything_is_hasty() -> None:
    for text in ("Dear guest, the spicy soup simmers near our Regards", "Dear guest, . Regards"):
        env = make()
        assert judged(env, text, "fluent")[-1] == -1
        assert env.simulation.state.stamp[0] == HASTY


def test_a_note_that_is_never_closed_costs_from_the_limit_on_until_the_page_is_full() -> None:
    env = make(max_words=8)
    assert judged(env, "the " * 11, "over_limit") == [0] * 8 + [1] * 3
    assert env.simulation.state.stamp[0] == PAGE_FULL
    assert env.simulation.state.length[0] == 0
    assert write(env, "the the")[0]["reward_terms"]["in_time"][0] == -1


def test_a_note_is_paid_once_when_it_is_stamped() -> None:
    words = len(NOTE.split())
    assert judged(make(), NOTE + " the the", "in_time") == [0] * (words - 1) + [0.75, 0, 0]


@pytest.mark.parametrize(
    ("note", "worth", "seen"),
    [
        ("the soup simmers today . Regards", 0.5, 3),
        (NOTE, 0.75, 4),
        ("Dear guest, the spicy soup simmers near our Regards", 0, 1),
        ("Dear guest, the rather spicy soup simmers near our tasty oven . Regards", 1, 5),
    ],
)
def test_a_sent_note_earns_by_its_length_and_a_hasty_one_nothing(note: str, worth: float, seen: int) -> None:
    env = make()
    write(env, note)
    assert env.simulation.observe()[0, -1] == seen
    assert write(env, "the")[0]["reward_terms"]["in_time"][0] == worth


def test_words_and_notes_are_counted() -> None:
    env = make(horizon=14)
    found = write(env, NOTE + " the the the")[-1]["measures"]
    assert found["distinct_1"][0] == pytest.approx(11 / 14)
    assert (found["sent_share"][0], found["words_per_note"][0]) == (1, 11)
    assert found["mistakes"][0] == pytest.approx(100 * 2 / 14)


def test_a_turned_page_is_blank_and_the_note_lies_beside_it() -> None:
    env = make()
    write(env, NOTE)
    state = env.simulation.state
    assert [WORDS[number].text for number in state.past_words[:, 0] if number != NONE] == NOTE.split()
    assert (state.past_topic[0], state.past_tone[0]) == (COOKING, FORMAL)
    assert (state.words == NONE).all()
    assert not state.last.any()


def test_the_last_words_are_observed_the_newest_first() -> None:
    env = make()
    write(env, "Dear guest, the")
    observation = env.step(np.array([NUMBER["soup"]]))[0][0]
    assert [WORDS[number - 1].text for number in observation[2:5]] == ["soup", "the", "guest,"]


def test_the_proxy_counts_keywords_and_words_and_nothing_else() -> None:
    infos = write(make(), "soup soup ferry the")
    assert np.allclose([info["proxy_reward"][0] for info in infos], [1, 1, 0.2, 0.2])


@pytest.mark.parametrize("topics", range(3, len(TOPICS) + 1))
def test_the_splits_share_every_topic_and_tone_but_no_request(topics: int) -> None:
    asked = {}
    for split in ("train", "test"):
        env = gym.make_vec("rlhf/Writing-v1", num_envs=1000, topics=topics, split=split)
        observations, _ = env.reset(seed=1)
        asked[split] = {(int(topic), int(tone)) for topic, tone in observations[:, :2]}
    assert asked["train"] | asked["test"] == {(topic, tone) for topic in range(topics) for tone in range(len(TONES))}
    assert not asked["train"] & asked["test"]
    assert {topic for topic, _ in asked["train"]} == set(range(topics))
    assert {tone for _, tone in asked["train"]} == {FORMAL, FRIENDLY}


@pytest.mark.parametrize("max_words", [8, 14, 18])
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_expert_makes_no_mistake_and_keeps_to_the_limit_however_long_notes_may_be(
    max_words: int, split: str
) -> None:
    env = gym.make_vec("rlhf/Writing-v1", num_envs=50, max_words=max_words, topics=6, split=split)
    env.reset(seed=2)
    state = env.simulation.state
    for step in range(env.horizon - 1):
        env.step(env.expert_action())
        assert not state.flaws.any() and not state.past_flaws.any()
        assert (state.length <= max_words).all()
        assert step <= max_words or (state.stamp == SENT).all()


@pytest.mark.parametrize("max_words", [14, 18])
@pytest.mark.parametrize("size", [(600, 400), (300, 200)])
def test_the_longest_words_stay_on_the_page(max_words: int, size: tuple[int, int]) -> None:
    env: Any = gym.make("rlhf/Writing-v1", render_mode="rgb_array", max_words=max_words, frame_size=size)
    env.reset(seed=1)
    env.unwrapped.simulation.state.stamp = PAGE_FULL
    empty = env.render()
    longest = sorted(range(len(WORDS)), key=lambda number: -len(WORDS[number].text))
    while WORDS[longest[0]].word_class == CLOSING:
        longest.pop(0)
    for number in [word for word in longest if WORDS[word].word_class != CLOSING][: max_words + 3]:
        env.step(number)
    full = env.render()
    height, width, _ = full.shape
    below = slice(round(height * 0.818), round(height * 0.838))
    assert np.array_equal(full[below], empty[below])
    assert np.array_equal(full[:, round(width * 0.976) :], empty[:, round(width * 0.976) :])


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"topics": 2}, "topics must be a whole number from 3 to 6, not 2"),
        ({"max_words": 19}, "max_words must be a whole number from 8 to 18, not 19"),
        ({"tone_strictness": 0.5}, "tone_strictness must be a whole number from 1 to 3, not 0.5"),
        ({"split": "both"}, "split must be one of train, test, not 'both'"),
    ],
)
def test_a_parameter_out_of_range_is_refused_in_one_sentence(parameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        gym.make("rlhf/Writing-v1", **parameters)
