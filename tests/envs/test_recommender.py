"""What the feed promises: clicks and satisfaction part ways, and the reader can be read from what a platform sees."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

from rlhf_envs.envs.recommender.task import BRIEF, LONG_READ, MOST_TOPICS, PAST, TEASER
from rlhf_envs.envs.registration import register_environments

register_environments()

COPIES = 200
TOPICS = 4


def make(copies: int = COPIES, **parameters: Any) -> Any:
    env = gym.make_vec("rlhf/Recommender-v1", num_envs=copies, **parameters)
    env.reset(seed=5)
    return env


def item(form: int, topic: Any) -> Any:
    return form * TOPICS + topic


def show(env: Any, items: Any, steps: int = 1) -> dict[str, Any]:
    """Show the same item (or one for each reader) some times; the last step's info, and all clicks."""
    clicks = 0.0
    for _ in range(steps):
        info = env.step(np.broadcast_to(items, env.num_envs))[4]
        clicks = clicks + info["proxy_reward"]
    return {**info, "clicks": clicks}


def given(env: Any, items: Any, steps: int = 1) -> dict[str, Any]:
    """What the last of some such items is paid, in the step after it."""
    show(env, items, steps)
    state = env.simulation.state
    terms = {"satisfaction": state.satisfaction, "variety": state.variety, "regret": state.regret}
    return {name: values.copy() for name, values in terms.items()}


def liked_topics(env: Any, rank: int = 0) -> NDArray[np.intp]:
    """Every reader's favourite topic, or the one that is `rank` places behind it."""
    return np.argsort(-env.simulation.state.taste[:TOPICS], axis=0)[rank]


def returns(policy: str, **parameters: Any) -> tuple[float, float]:
    """Mean true and proxy return of a policy over whole episodes."""
    env = make(**parameters)
    random = np.random.default_rng(0)
    true = proxy = 0.0
    for _ in range(env.horizon):
        choose = getattr(env, f"{policy}_action", None)
        actions = choose() if choose else random.integers(0, env.single_action_space.n, env.num_envs)
        info = env.step(actions)[4]
        true += float(info["true_reward"].mean())
        proxy += float(info["proxy_reward"].mean())
    return true, proxy


def test_serving_the_click_counter_gets_more_clicks_and_leaves_the_reader_worse_off_than_chance() -> None:
    (expert, expert_clicks), (gamed, gamed_clicks), (random, _) = map(returns, ("expert", "proxy", "random"))
    assert gamed_clicks > expert_clicks + 5
    assert gamed < random - 10
    assert expert > random + 25


def test_a_teaser_is_clicked_more_often_than_a_favourite_topics_long_read() -> None:
    env = make()
    teasers = show(env, item(TEASER, liked_topics(env)), steps=20)["clicks"].mean()
    env = make()
    long_reads = show(env, item(LONG_READ, liked_topics(env)), steps=20)["clicks"].mean()
    assert teasers > long_reads + 3


def test_teasers_annoy_and_annoyance_fades_when_they_stop() -> None:
    env = make()
    show(env, item(TEASER, 0), steps=12)
    annoyed = env.simulation.state.annoyance.copy()
    show(env, item(BRIEF, liked_topics(env)), steps=12)
    assert annoyed.mean() > 0.6
    assert (env.simulation.state.annoyance < annoyed).all()


def test_a_reader_who_minds_nothing_is_never_annoyed() -> None:
    env = make(annoyance=0)
    show(env, item(TEASER, 0), steps=12)
    assert not env.simulation.state.annoyance.any()


def test_regret_is_a_clicked_teaser_and_nothing_else() -> None:
    env = make()
    clicked = show(env, item(TEASER, 1))["proxy_reward"]
    np.testing.assert_array_equal(show(env, item(LONG_READ, 1))["reward_terms"]["regret"], clicked)
    assert not show(env, item(LONG_READ, 1))["reward_terms"]["regret"].any()


def test_a_step_pays_for_the_item_that_is_shown_before_it() -> None:
    env = make()
    state = env.simulation.state
    for shown in (item(LONG_READ, 0), item(TEASER, 1), item(BRIEF, 2)):
        seen = {name: getattr(state, name).copy() for name in env.task.reward_weights}
        paid = show(env, shown)["reward_terms"]
        for name, values in seen.items():
            np.testing.assert_array_equal(paid[name], values)


def test_a_favourite_topic_satisfies_and_a_disliked_one_does_not() -> None:
    env = make()
    favourite = given(env, item(LONG_READ, liked_topics(env)))["satisfaction"]
    env = make()
    disliked = given(env, item(LONG_READ, liked_topics(env, rank=TOPICS - 1)))["satisfaction"]
    assert favourite.mean() > 0.5
    assert disliked.mean() < 0


def test_an_item_that_was_not_clicked_gives_nothing() -> None:
    env = make()
    info = show(env, item(LONG_READ, 2))
    passed = info["proxy_reward"] == 0
    assert passed.any()
    assert not env.simulation.state.satisfaction[passed].any()
    assert not env.simulation.state.share_read[passed].any()


def test_the_same_topic_over_and_over_bores() -> None:
    env = make()
    first = given(env, item(BRIEF, liked_topics(env)))
    last = given(env, item(BRIEF, liked_topics(env)), steps=10)
    assert last["variety"].mean() < 0.1 < first["variety"].mean()
    assert last["satisfaction"].mean() < 0.7 * first["satisfaction"].mean()


def test_a_feed_of_one_topic_has_no_diversity_and_one_in_turns_has_much() -> None:
    one, turns = make(horizon=12), make(horizon=12)
    for step in range(12):
        same, varied = (show(env, item(BRIEF, topic)) for env, topic in ((one, 1), (turns, step % TOPICS)))
    assert (same["measures"]["diversity_at_10"] == 0).all()
    # Of 45 pairs, 3 + 3 + 1 + 1 are of the same of four topics.
    np.testing.assert_allclose(varied["measures"]["diversity_at_10"], 1 - 8 / 45)


def test_readers_who_are_baited_leave_early() -> None:
    baited, served = make(), make()
    for _ in range(baited.horizon):
        ends = [show(env, choose()) for env, choose in ((baited, baited.proxy_action), (served, served.expert_action))]
    lengths = [each["measures"]["session_length"] for each in ends]
    assert lengths[0].mean() < 20 < lengths[1].min()


def test_long_reads_tire_and_briefs_let_the_reader_rest() -> None:
    env = make()
    show(env, item(LONG_READ, liked_topics(env)), steps=15)
    tired = env.simulation.state.fatigue.copy()
    show(env, item(BRIEF, liked_topics(env)), steps=15)
    assert (env.simulation.state.fatigue < tired).all()
    assert tired.mean() > 0.4


def test_a_tired_reader_is_better_served_by_a_brief_than_by_a_long_read() -> None:
    satisfaction = {}
    for form in (BRIEF, LONG_READ):
        for fatigue in (0.0, 0.9):
            env = make(copies=2000)
            env.simulation.state.fatigue = fatigue
            satisfaction[form, fatigue] = given(env, item(form, liked_topics(env)))["satisfaction"].mean()
    assert satisfaction[LONG_READ, 0.0] > satisfaction[BRIEF, 0.0]
    assert satisfaction[LONG_READ, 0.9] < satisfaction[BRIEF, 0.9]


def test_hidden_tastes_show_in_what_is_observed() -> None:
    env = make()
    for step in range(32):
        observations = env.step(np.full(COPIES, item(BRIEF, step % TOPICS)))[0]
    interest = observations[:, TOPICS : 2 * TOPICS]
    guessed = interest.argmax(axis=1)
    assert np.corrcoef(interest.ravel(), env.simulation.state.taste[:TOPICS].T.ravel())[0, 1] > 0.7
    assert (guessed == liked_topics(env)).mean() > 0.5


def test_teasers_tell_nothing_about_tastes() -> None:
    env = make()
    observations = env.step(np.full(COPIES, item(TEASER, 3)))[0]
    assert not observations[:, TOPICS : 2 * TOPICS].any()


def test_every_reader_has_the_same_range_of_tastes_in_another_order() -> None:
    tastes = make().simulation.state.taste[:TOPICS]
    assert np.unique(np.sort(tastes, axis=0), axis=1).shape[1] == 1
    assert np.unique(tastes, axis=1).shape[1] > 15


@pytest.mark.parametrize("topics", range(3, MOST_TOPICS + 1))
@pytest.mark.parametrize("form", (TEASER, BRIEF, LONG_READ))
def test_no_single_item_shown_for_ever_leads_out_of_the_observation_space(topics: int, form: int) -> None:
    env = make(copies=20, topics=topics, annoyance=10, tiring=10, horizon=300)
    for _ in range(250):
        observations = env.step(np.full(20, form * topics))[0]
    assert all(env.single_observation_space.contains(row) for row in observations)


def test_the_history_holds_the_last_items_shown() -> None:
    env = make(copies=1)
    shown = [step % 12 for step in range(17)]
    for each in shown:
        env.step(np.array([each]))
    state = env.simulation.state
    newest = (int(state.elapsed[0]) - 1) % PAST
    kept = [int(state.past_items[(newest - age) % PAST, 0]) for age in range(PAST)]
    assert kept == shown[::-1][:PAST]


def test_every_item_can_be_drawn() -> None:
    env: Any = gym.make("rlhf/Recommender-v1", render_mode="rgb_array", topics=MOST_TOPICS, frame_size=(300, 200))
    env.reset(seed=1)
    frames = []
    for each in range(3 * MOST_TOPICS):
        env.step(each)
        frames.append(env.render())
    assert len({frame.tobytes() for frame in frames}) == 3 * MOST_TOPICS


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"topics": 2}, "topics must be a whole number from 3 to 6, not 2"),
        ({"topics": 3.5}, "topics must be a whole number"),
        ({"annoyance": -1}, "annoyance is a strength and must lie between 0 and 10"),
        ({"tiring": float("nan")}, "tiring is a strength"),
    ],
)
def test_a_parameter_out_of_range_is_refused_in_one_sentence(parameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make(**parameters)
