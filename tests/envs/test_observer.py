"""Whoever sees only the pictures of two clips can tell which of them earned more.

For each environment an observer reads single frames, as texts, bars and shapes with their places, and says what each is
worth. It knows the weights of the reward's terms, but neither the state nor anything from before the clip.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

from rlhf_envs.envs.driving.drawing import CAR_PIXELS, CAR_X
from rlhf_envs.envs.glimpse.drawing import LOOK_PITCH, LOOKS_X, LOOKS_Y, VERDICTS
from rlhf_envs.envs.glimpse.task import ENOUGH, GAVE_UP, HONEST, READ, UNANSWERED, WRONG
from rlhf_envs.envs.headset.drawing import BAR_PLACES, BAR_TOP
from rlhf_envs.envs.overlay.drawing import GAUGE_LENGTH, OBJECT_MARGIN, PER_DEGREE, STEADY, VIEW
from rlhf_envs.envs.recommender.drawing import ENJOYED, GAUGE_LEFT, GAUGES
from rlhf_envs.envs.registration import register_environments
from rlhf_envs.envs.rival.drawing import GAUGE_Y, MOST_STRAIN, REACH_X
from rlhf_envs.envs.rival.drawing import GAUGES as RIVAL_GAUGES
from rlhf_envs.envs.rival.task import GOOD_STRAIN, STRAIN_WIDTH
from rlhf_envs.envs.support.drawing import ANGER_BAR, BAR_LEFT, LINE, NEWEST_TURN, WAITING_BAR
from rlhf_envs.envs.support.task import CLOSED, CLOSED_SOLVED, DESK_LINES, FRAUD_MISSED, WASTED
from rlhf_envs.envs.writing.drawing import SIGNS
from rlhf_envs.envs.writing.task import STAMPS
from tests.envs.drawn import Drawn

register_environments()

Weights = dict[str, float]
Observer = Callable[[Drawn, Weights], float]
"""What one frame is worth, from what is drawn in it and the weights of the terms."""

COPIES, STEPS, PAIRS = 48, 15, 3_000


def sees_a_ride(frame: Drawn, weights: Weights) -> float:
    """Four bars, one for each term."""
    return sum(weight * frame.bar(x, BAR_TOP) for x, weight in zip(BAR_PLACES, weights.values(), strict=True))


def sees_a_desk(frame: Drawn, weights: Weights) -> float:
    """The newest turn of the chat, a customer who leaves the line, and two bars of anger."""
    calm = -0.5 * (frame.bar(BAR_LEFT, ANGER_BAR) + frame.bar(BAR_LEFT, WAITING_BAR))
    ended = [line for line in DESK_LINES[CLOSED:WASTED] if frame.says(line, NEWEST_TURN)]
    resolved = DESK_LINES[CLOSED_SOLVED] in ended
    lost = len(ended) - resolved + any(line.start[0] > LINE[0] and line.start[1] > LINE[1] for line in frame.lines)
    # "not due" stands beside what was not due.
    wasted = frame.says("not due", NEWEST_TURN)
    refund = wasted and frame.says(DESK_LINES[WASTED], NEWEST_TURN)
    misplaced = (wasted and not refund) + 0.7 * (DESK_LINES[FRAUD_MISSED] in ended)
    return float(np.dot(list(weights.values()), [resolved, lost, calm, refund, misplaced]))


def sees_a_reader_of_digits(frame: Drawn, weights: Weights) -> float:
    """What is said of an answer, and the bars of the places that were looked at."""
    terms = {READ: "read", HONEST: "honest", WRONG: "wrong", GAVE_UP: "gave_up", UNANSWERED: "unanswered"}
    verdict = next((verdict for verdict, words in VERDICTS.items() if frame.says(words)), None)
    if verdict is None:
        return 0.0
    looks = sum(frame.bar(LOOKS_X + place * LOOK_PITCH, LOOKS_Y) for place in range(ENOUGH))
    looked = (looks - 1) / (ENOUGH - 1) if verdict != UNANSWERED else 0.0
    return weights[terms[verdict]] + weights["looked"] * looked


def sees_a_feed(frame: Drawn, weights: Weights) -> float:
    """Bars of the reader, the one of how much the item was enjoyed, and what the reader did with it."""
    mood, variety, fatigue = (frame.bar(GAUGE_LEFT, top) for top in GAUGES.values())
    _, top, width = ENJOYED
    filled = [box for box in frame.boxes if box.y == top and box.width < width and box.color != frame.colors.ink]
    enjoyed = sum(2 * box.width / width * (1 if box.color == frame.colors.good else -1) for box in filled)
    regret = frame.says("left at once")
    return float(np.dot(list(weights.values()), [enjoyed, 2 * mood - 1, variety, fatigue, regret]))


def sees_a_note(frame: Drawn, weights: Weights) -> float:
    """What the signs say of the last word, a new stamp with the words under it, and a bar beyond its limit."""
    marks = [next((mark for mark, words in said.items() if frame.says(words)), 0) for said in SIGNS.values()]
    fluent, topic, tone, repeated = marks
    stamped = [text.words for text in frame.texts if text.words in STAMPS and text.color == frame.colors.surface]
    words = next((int(text.words.split()[0]) for text in frame.texts if text.words.endswith(" words")), 0)
    worth = 1.0 if words >= 12 else 0.75 if words >= 9 else 0.5
    in_time = {"sent": worth, "page full": -1}.get(stamped[0], 0) if stamped else 0
    over = any(box.y > 336 and box.height == 10 and box.color == frame.colors.bad for box in frame.boxes)
    return float(np.dot(list(weights.values()), [fluent, topic, tone, -repeated, in_time, over]))


def sees_a_drive(frame: Drawn, weights: Weights) -> float:
    """The speedometer, two bars, cars in the coloured stretches before and behind, and a ring around a collision."""
    speed, limit = (next(int(found[0]) for text in frame.texts if (found := re.findall(pattern, text.words)))
                    for pattern in (r"^(\d+)$", r"^limit (\d+)$"))  # fmt: skip
    pace = speed / limit
    stretches = [points for kind, (points, *_) in frame.shapes if kind == "polygon"]
    cars = [values[1:3] for kind, values in frame.shapes if kind == "stamp" and values[0].split()[0] in ("car", "van")]
    headway = courtesy = 0.0
    for points in stretches:
        left, right = points[0][0], points[4][0]
        middles = [
            (above[0], (above[1] + below[1]) / 2) for above, below in zip(points[:5], points[:4:-1], strict=True)
        ]
        if left < CAR_X:
            signs = [text.words for text in frame.texts if set(text.words) == {"!"} and left <= text.x <= right]
            courtesy = -0.65 if "!!" in signs else -0.2
            continue
        ahead = [x for x, y in cars if x > CAR_X and abs(y - np.interp(x, *zip(*middles, strict=True))) < 24]
        free = min(ahead, default=1000.0) - CAR_X - CAR_PIXELS
        headway = min(free / (right - left), 1.0) - 1.0
    bars = {name: frame.bar(x, 57) for name, x in (("lane", 324), ("comfort", 456))}
    collision = any(kind == "circle" and values[2] == 32 for kind, values in frame.shapes)
    terms = {
        "progress": np.clip((pace - 0.4) / 0.6, -0.3, 1.0),
        "speeding": -np.clip((pace - 1.05) / 0.15, 0.0, 1.0),
        "headway": headway,
        "comfort": bars["comfort"] - 1.0,
        "courtesy": courtesy,
        "lane": bars["lane"] - 1.0,
        "collision": -float(collision),
    }
    return sum(weights[name] * float(value) for name, value in terms.items())


def sees_a_match(frame: Drawn, weights: Weights) -> float:
    """The score and who has just scored, the strokes of the rally, and four bars."""
    figures = {text.x: text for text in frame.texts if text.words.isdigit()}
    (_, theirs), (_, own), (_, strokes) = sorted(figures.items())
    lead, hits = int(own.words) - int(theirs.words), int(strokes.words)
    scored = (own.color == frame.colors.accent) - (theirs.color == frame.colors.others[0])
    engaged, upset, doubts, challenge = (
        frame.bar(RIVAL_GAUGES[name], GAUGE_Y) for name in ("engaged", "upset", "doubts", "challenge")
    )
    off_best = (challenge * MOST_STRAIN - GOOD_STRAIN) / STRAIN_WIDTH
    going = challenge > 0 or any(kind == "circle" and values[:1] == (REACH_X,) for kind, values in frame.shapes)
    terms = {
        "close": max(1.0 - 0.5 * abs(lead), -1.0),
        "rally": np.clip(min(hits / 8, 2.5 - hits / 8), 0.0, 1.0),
        "challenge": max(1.0 - off_best**2, -1.0) if going else 0.0,
        "comeback": np.clip((scored - lead) * scored / 2, -1.0, 1.0) if scored else 0.0,
        "enjoyment": engaged - upset,
        "honesty": -doubts,
    }
    return sum(weights[name] * float(value) for name, value in terms.items())


def sees_labels(frame: Drawn, weights: Weights) -> float:
    """Where the labels, the objects and the glare are and how large; and the bar of steadiness."""
    stamps = [(values[0].split()[0], *values[1:]) for kind, values in frame.shapes if kind == "stamp"]
    rims = {"glare": 12.0, "workshop": 2 * OBJECT_MARGIN}
    boxes: dict[str, list[NDArray[np.float64]]] = {"glare": [], "workshop": [], "label": []}
    for name, x, y, (width, height) in stamps:
        if name not in ("smear", "rim"):
            kind, rim = (name, rims[name]) if name in rims else ("label", 3.0)
            # The middle, and half of the size.
            boxes[kind].append(np.array([[x, y], [(width - rim) / 2, (height - rim) / 2]]))
    labels, things, glare = boxes["label"], boxes["workshop"], boxes["glare"][0]
    view = np.array([[VIEW[0] + VIEW[2] / 2, VIEW[1] + VIEW[3] / 2], [VIEW[2] / 2, VIEW[3] / 2]])
    qualities = []
    for number, (label, thing) in enumerate(zip(labels, things, strict=True)):
        gap = np.maximum(np.abs(label - thing)[0] - label[1] - thing[1], 0.0) / PER_DEGREE
        gap = np.maximum(gap - 0.8, 0.0) / 3.0
        others = labels[:number] + labels[number + 1 :]
        qualities.append(
            (
                shared(label, view) * (1.0 - shared(label, glare)),
                1.0 / (1.0 + float(gap @ gap)),
                min(sum(shared(label, each) for each in things), 1.0),
                min(sum(shared(label, each) for each in others), 1.0),
            )
        )
    steady = next(box.width for box in frame.boxes if (box.x, box.y) == STEADY) / GAUGE_LENGTH
    return float(np.dot(list(weights.values()), [*np.mean(qualities, axis=0), 1.0 - steady]))


def shared(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """What two boxes, each its middle and half of its size, (2, 2), share of the smaller one's width and height."""
    smaller = np.minimum(first[1], second[1])
    overlap = (first[1] + second[1] - np.abs(first[0] - second[0])) / (2.0 * smaller)
    return float(np.clip(overlap, 0.0, 1.0).prod())


OBSERVERS: dict[str, Observer] = {
    "rlhf/Rival-v1": sees_a_match,
    "rlhf/Overlay-v1": sees_labels,
    "rlhf/Driving-v1": sees_a_drive,
    "rlhf/Headset-v1": sees_a_ride,
    "rlhf/Support-v1": sees_a_desk,
    "rlhf/Glimpse-v1": sees_a_reader_of_digits,
    "rlhf/Recommender-v1": sees_a_feed,
    "rlhf/Writing-v1": sees_a_note,
}


def clips_of(environment_id: str, observer: Observer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The true returns (clips,) of clips of the expert mixed with random actions, and what the observer makes of them.

    The shares of random actions are spread over the copies, so that there are clips of every quality.
    """
    env: Any = gym.make_vec(environment_id, num_envs=COPIES).unwrapped
    env.reset(seed=1)
    env.action_space.seed(1)
    random, shares = np.random.default_rng(1), np.linspace(0.0, 1.0, COPIES)
    task, drawn, weights = env.task, Drawn(), dict(env.task.reward_weights)
    paid, read = [], []
    for _ in range(env.horizon // STEPS * STEPS):
        worth = []
        for row in range(COPIES):
            drawn.clear()
            task.draw(env.simulation.state.row(row), drawn)
            worth.append(observer(drawn, weights))
        chance = random.random(COPIES) < shares
        expert, anything = env.expert_action(), env.action_space.sample()
        actions = np.where(chance.reshape(-1, *[1] * (expert.ndim - 1)), anything, expert).astype(expert.dtype)
        paid.append(env.step(actions)[4]["true_reward"])
        read.append(worth)
    clips = (-1, STEPS, COPIES)
    return np.reshape(paid, clips).sum(axis=1).ravel(), np.reshape(read, clips).sum(axis=1).ravel()


@pytest.mark.parametrize("environment_id", OBSERVERS)
def test_who_sees_only_the_pictures_can_tell_which_clip_earned_more(environment_id: str) -> None:
    returns, seen = clips_of(environment_id, OBSERVERS[environment_id])
    pairs = np.random.default_rng(2).integers(0, len(returns), (2, PAIRS))
    gaps, guesses = (values[pairs[0]] - values[pairs[1]] for values in (returns.astype(np.float64), seen))
    wide = np.abs(gaps) > np.quantile(np.abs(gaps), 1 / 3)
    assert np.std(returns) > 0
    assert (np.sign(guesses) == np.sign(gaps))[wide].mean() >= 0.95
