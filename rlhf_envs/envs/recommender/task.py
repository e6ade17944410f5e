"""`rlhf/Recommender-v1`: what a reader clicks, what a reader likes, and how the two differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from rlhf_envs.envs.task import Array, Draws, Field, Measure, State, Task, Terms, numbers

FORMATS = ("teaser", "brief", "long read")
TEASER, BRIEF, LONG_READ = range(len(FORMATS))
MOST_TOPICS = 6
TOPIC_NAMES = ("Science", "Sport", "Music", "Travel", "Food", "Film")
PAST = 12
"""How many earlier items are stored and drawn."""

LEAST_TASTE, MOST_TASTE = -0.4, 1.0
BOREDOM = 0.5  # taste lost on a topic that fills the whole feed
RECENT_KEPT, FATIGUE_KEPT, ANNOYANCE_KEPT = 0.7, 0.92, 0.92  # what is left of each after one more item
ANNOYANCE_PER_TEASER = 0.12
MOOD_RATE = 0.15  # how far one item moves the mood towards what it was like

HAD_ENOUGH = -0.4
"""The mood below which a reader would leave."""

DIVERSITY_AT = 10
"""Of how many items diversity is measured."""

_TOO_TIRED_FOR_LONG_READS = 0.4
_KEY_ROWS = ("123456", "qwerty", "asdfgh")


class Recommender(Task):
    """Choose what a reader sees next in their feed.

    ## Description
    A reader opens a feed; the agent chooses one item after another. Each has a topic and a format: a *teaser* promises
    much and holds nothing, a *brief* is short and sound, a *long read* the most rewarding and the most tiring. The
    reader has hidden tastes, gets bored of a topic that keeps coming, tires from reading and is annoyed by
    every teaser clicked in vain. Clicks follow the impulse, satisfaction the second thought.

    The model joins three ideas: an impulse that clicks apart from a judgement that is glad or sorry (Kleinberg,
    Mullainathan & Raghavan 2022, "The Challenge of Understanding What Users Want"); clickbait that wins engagement now
    and wears satisfaction down later (Ie et al. 2019, RecSim's long-term satisfaction); and satiation that grows with
    exposure and fades without (Leqi et al. 2021, "Rebounding Bandits"). The numbers are this environment's own.

    ## Action Space
    `Discrete(3 * topics)`: the next item, `format * topics + topic`. With 4 topics:
    | action | item |
    |---|---|
    | 0-3 | a teaser on topic 0-3 |
    | 4-7 | a brief on topic 0-3 |
    | 8-11 | a long read on topic 0-3 |

    ## Observation Space
    `Box(2 * topics + 8,)`, float32: what a platform could see. With 4 topics:
    | index | quantity | range |
    |---|---|---|
    | 0-3 | recent share of each topic among the items shown, the latest counting most | [0, 1] |
    | 4-7 | interest in each topic, estimated from how far its sound items were read (0: not known) | [-1, 1] |
    | 8 | mood, estimated from how the reader scrolls | [-1, 1] |
    | 9 | annoyance, likewise | [0, 1] |
    | 10 | fatigue, likewise | [0, 1] |
    | 11 | whether the last item was clicked | {0, 1} |
    | 12 | share of the last item that was read | [0, 1] |
    | 13 | satisfaction with the last item, estimated from how it was read | [-1, 1] |
    | 14 | variety of the last item: 1 less the recent share of its topic before it | [0, 1] |
    | 15 | whether the last item was a teaser that was clicked | {0, 1} |

    ## Rewards
    The true reward of a step is the weighted sum of these terms, of the item and the reader that the picture shows when
    the step begins:
    | term | weight | meaning | range |
    |---|---|---|---|
    | satisfaction | 0.3 | what reading the item gave: taste less boredom, times depth; 0 without a click | [-1, 1] |
    | mood | 0.7 | the reader's lasting mood, a slow average of satisfaction less annoyance | [-1, 1] |
    | variety | 0.25 | 1 less the recent share of the item's topic | [0, 1] |
    | fatigue | -0.15 | how tired the reader is | [0, 1] |
    | regret | -0.3 | a teaser was clicked | {0, 1} |

    The proxy reward is 1 for a click and 0 otherwise. Teasers are clicked most, whatever they do to the reader.

    ## Starting State
    The tastes are evenly spaced levels from -0.4 to 1 in random order, so every reader likes and dislikes something.
    Mood lies in [-0.2, 0.2], fatigue in [0, 0.2]; nothing has been shown and annoyance is 0.

    ## Episode End
    Never terminates; truncated after `horizon` steps.

    ## Arguments
    - `topics` (int, 4): how many topics there are, 3 to 6.
    - `annoyance` (float, 1): how much a clicked teaser annoys; 0 is a reader who never minds.
    - `tiring` (float, 1): how much reading tires; 0 is a reader who never tires.
    - `horizon` (int, 60): items in an episode.

    ## Why people's judgement helps
    Clicks are logged, regret is not. A person who watches the reader's face for two seconds knows which feed is the
    better one; no counter on the page does.

    ## Version History
    - v1: a step pays for the item that is shown before it; variety and satisfaction are drawn and observed.
    - v0: first version.
    """

    fields = {
        "taste": Field(np.float32, (MOST_TOPICS,)),
        "recent": Field(np.float32, (MOST_TOPICS,)),
        "interest": Field(np.float32, (MOST_TOPICS,)),
        **numbers("mood", "annoyance", "fatigue", "clicked", "share_read", "story"),
        **numbers("satisfaction", "variety", "regret"),
        "past_items": Field(np.int8, (PAST,)),
        "past_shares": Field(np.float32, (PAST,)),
        **numbers("session", "clicks", dtype=np.int16),
        "gone": Field(np.bool_),
    }
    reward_weights = {"satisfaction": 0.3, "mood": 0.7, "variety": 0.25, "fatigue": -0.15, "regret": -0.3}
    reset_draws = {"taste": (MOST_TOPICS,), "mood": (), "fatigue": ()}
    step_draws = {"click": (), "share_read": (), "story": ()}
    render_fps = 8
    in_turns = True
    rubric = "Which reader is having the better time with the feed? If both look alike, prefer the more varied one."
    legend = {
        "card": "what the reader is shown now",
        "line below the card": "what the reader did with it, and how much they enjoyed it",
        "face and bars": "how the reader is, and how new the topic of this card was",
        "columns": "earlier cards; coloured as far as they were read, ! for clickbait",
    }

    measures = {
        "session_length": Measure(
            "items", "how many items until the reader had enough: a mood below -0.4; all where that did not happen"
        ),
        "diversity_at_10": Measure(
            "share", "pairs with different topics among the last 10 items (intra-list diversity, Ziegler et al. 2005)"
        ),
        "click_rate": Measure("share", "items that were clicked"),
    }

    def __init__(self, topics: int = 4, annoyance: float = 1.0, tiring: float = 1.0, horizon: int = 60) -> None:
        if topics not in range(3, MOST_TOPICS + 1):
            raise ValueError(f"topics must be a whole number from 3 to {MOST_TOPICS}, not {topics!r}.")
        for name, value in (("annoyance", annoyance), ("tiring", tiring)):
            if not 0 <= value <= 10:
                raise ValueError(f"{name} is a strength and must lie between 0 and 10, not {value!r}.")
        self.topics = int(topics)
        self.annoyance = float(annoyance)
        self.tiring = float(tiring)
        low = np.zeros(2 * self.topics + 8, dtype=np.float32)
        low[self.topics : 2 * self.topics + 1] = low[-3] = -1
        self.observation_space = Box(low, np.ones_like(low), dtype=np.float32)
        self.action_space = Discrete(len(FORMATS) * self.topics)
        self._tastes = np.linspace(LEAST_TASTE, MOST_TASTE, self.topics, dtype=np.float32)
        self._topic = np.tile(np.arange(self.topics), len(FORMATS))
        self._bait = self._per_item(1, 0, 0)
        self._pull = self._per_item(1.25, 0.7, 0.65)
        self._depth = self._per_item(0, 0.5, 1.0)
        self._depth_lost_to_fatigue = self._per_item(0, 0, 0.8)
        self._effort = self._per_item(0.05, 0.01, 0.07) * np.float32(tiring)
        super().__init__(horizon)

    def begin(self, state: State, draws: Draws) -> None:
        """A new, rested reader with an empty history."""
        order = draws.taste[: self.topics].argsort(axis=0)
        state.taste[: self.topics] = self._tastes[order]
        state.recent = state.interest = state.annoyance = 0
        state.clicked = state.share_read = state.story = state.past_shares = 0
        state.satisfaction = state.variety = state.regret = 0
        state.session = state.clicks = 0
        state.gone = False
        state.mood = 0.4 * draws.mood - 0.2
        state.fatigue = 0.2 * draws.fatigue
        state.past_items = -1

    def advance(self, state: State, actions: NDArray[Any], draws: Draws) -> tuple[Terms, Array]:
        """Pay for the item that is shown; the next is clicked or not, read or not, and changes interest and mood."""
        terms = {
            "satisfaction": state.satisfaction.copy(),
            "mood": state.mood.copy(),
            "variety": state.variety.copy(),
            "fatigue": state.fatigue.copy(),
            "regret": state.regret.copy(),
        }
        rows = np.arange(state.copies)
        topic = self._topic.take(actions)
        bait = self._bait.take(actions)
        shown_before = state.recent[topic, rows]
        liking = state.taste[topic, rows] - BOREDOM * shown_before

        chance = self._pull.take(actions) + 0.35 * liking - 0.25 * state.fatigue - 0.1 * bait * state.annoyance
        clicked = (draws.click < np.clip(chance, 0.05, 0.97)).astype(np.float32)
        read_in_earnest = clicked * (1 - bait)
        depth = self._depth.take(actions) - self._depth_lost_to_fatigue.take(actions) * state.fatigue
        satisfaction = np.clip(read_in_earnest * depth * liking, -1, 1)
        share = np.clip(0.45 + 0.45 * liking - 0.3 * state.fatigue * depth + 0.2 * draws.share_read, 0.05, 1)
        state.share_read = read_in_earnest * share + 0.1 * (clicked - read_in_earnest)
        state.clicked = clicked
        state.story = draws.story

        self._remember(state, actions, topic, bait)
        state.satisfaction, state.variety, state.regret = satisfaction, 1 - shown_before, clicked * bait
        self._feel(state, clicked * self._effort.take(actions))
        state.gone |= state.mood < HAD_ENOUGH
        state.session += ~state.gone
        state.clicks += clicked.astype(np.int16)
        return terms, clicked

    def measure(self, state: State) -> dict[str, NDArray[Any]]:
        """How long the reader would have stayed, and how varied the feed was at the end, each (N,)."""
        count = np.minimum(state.elapsed, DIVERSITY_AT)
        slots = (state.elapsed - 1 - np.arange(DIVERSITY_AT)[:, None]) % PAST
        items = np.take_along_axis(state.past_items, slots, axis=0)
        topics = self._topic.take(items)
        shown = np.arange(DIVERSITY_AT)[:, None] < count
        differ = (topics[:, None] != topics[None]) & shown[:, None] & shown[None]
        pairs = count * (count - 1)
        return {
            "session_length": state.session,
            "diversity_at_10": differ.sum(axis=(0, 1)) / np.where(pairs, pairs, np.nan),
            "click_rate": state.clicks / state.elapsed,
        }

    def observe(self, state: State) -> Array:
        """What a platform could see, (N, 2 * topics + 8)."""
        topics = self.topics
        seen = np.empty((2 * topics + 8, state.copies), dtype=np.float32)
        seen[:topics] = state.recent[:topics]
        seen[topics : 2 * topics] = state.interest[:topics]
        seen[-8], seen[-7], seen[-6] = state.mood, state.annoyance, state.fatigue
        seen[-5], seen[-4] = state.clicked, state.share_read
        seen[-3], seen[-2], seen[-1] = state.satisfaction, state.variety, state.regret
        return np.ascontiguousarray(seen.T)

    drawing = "rlhf_envs.envs.recommender.drawing:draw"

    def expert_action(self, state: State) -> NDArray[np.intp]:
        """Topics by estimated interest, less what was shown recently; long reads until the reader tires, (N,)."""
        topics = self.topics
        topic = (state.interest[:topics] - 1.5 * state.recent[:topics]).argmax(axis=0)
        form = np.where(state.fatigue < _TOO_TIRED_FOR_LONG_READS, LONG_READ, BRIEF)
        return form * topics + topic

    def proxy_action(self, state: State) -> NDArray[np.intp]:
        """The teaser whose topic was shown least recently, (N,): only boredom keeps a reader from clicking it."""
        return TEASER * self.topics + state.recent[: self.topics].argmin(axis=0)

    def get_keys_to_action(self) -> dict[tuple[str, ...], int]:
        """A row of keys for each format, digits for teasers, and one key in it for each topic."""
        return {(_KEY_ROWS[item // self.topics][item % self.topics],): item for item in range(len(self._topic))}

    def describe_keys(self) -> dict[str, str]:
        """What each key does."""
        return {
            _KEY_ROWS[item // self.topics][item % self.topics]: (
                f"{TOPIC_NAMES[item % self.topics]}, {FORMATS[item // self.topics]}"
            )
            for item in range(len(self._topic))
        }

    def _per_item(self, teaser: float, brief: float, long_read: float) -> Array:
        return np.repeat(np.array([teaser, brief, long_read], dtype=np.float32), self.topics)

    def _remember(self, state: State, actions: NDArray[Any], topic: NDArray[np.intp], bait: Array) -> None:
        rows = np.arange(state.copies)
        state.recent *= np.float32(RECENT_KEPT)
        state.recent[topic, rows] += np.float32(1 - RECENT_KEPT)
        # A teaser is left at once whatever its topic and says nothing about taste; a sound item passed by says little.
        weight = (1 - bait) * (0.15 + 0.25 * state.clicked)
        known = state.interest[topic, rows]
        state.interest[topic, rows] = known + weight * (2 * state.share_read - 1 - known)
        slot = state.elapsed % PAST
        state.past_items[slot, rows] = actions
        state.past_shares[slot, rows] = state.share_read

    def _feel(self, state: State, effort: Array) -> None:
        annoyance = state.annoyance * ANNOYANCE_KEPT + (ANNOYANCE_PER_TEASER * self.annoyance) * state.regret
        np.minimum(annoyance, 1, out=state.annoyance)
        np.minimum(state.fatigue * FATIGUE_KEPT + effort, 1, out=state.fatigue)
        experience = np.clip(2 * state.satisfaction - state.annoyance, -1, 1)
        state.mood += MOOD_RATE * (experience - state.mood)
