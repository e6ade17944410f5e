"""Environments as people bring them, odd but legal, each as small as it can be.

`Odd` is one with usual spaces; the others differ from it in one thing. All are registered as `odd/NAME-v0`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import deepcopy
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import register
from numpy.typing import NDArray

LENGTH = 40


class Odd(gym.Env[Any, Any]):
    """Shows samples of its observation space and pays the sum of the action.

    Attributes:
        total: steps over all episodes.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space: spaces.Space[Any] = spaces.Box(-1, 1, (3,), np.float32)
    action_space: spaces.Space[Any] = spaces.Discrete(3)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = deepcopy(self.observation_space)  # each copy draws from its own
        self.steps = self.total = 0
        self.actions: list[Any] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.steps = 0
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        self.steps += 1
        self.total += 1
        self.actions.append(action)
        return self.observe(), self.pay(action), self.dies(), False, self.inform()

    def render(self) -> Any:
        frame = np.zeros((64, 96, 3), np.uint8)
        frame[:, : (self.steps * 3) % 96] = 200
        return frame

    def observe(self) -> Any:
        return self.observation_space.sample()

    def pay(self, action: Any) -> Any:
        return 0.0 if isinstance(action, dict | tuple) else float(np.asarray(action, dtype=np.float64).sum())

    def dies(self) -> Any:
        return False

    def inform(self) -> Any:
        return {}


def odd(name: str, length: int | None = LENGTH, base: type[Odd] = Odd, **attributes: Any) -> None:
    """Register a class that differs in these attributes; functions become methods."""
    register(f"odd/{name}-v0", entry_point=type(name, (base,), attributes), max_episode_steps=length)


def _raises(error: BaseException, after: int = 0) -> Callable[..., Any]:
    def pay(self: Odd, action: Any) -> float:
        if self.total > after:
            raise error
        return 1.0

    return pay


def _dies_as_process(self: Odd, action: Any) -> float:
    if self.total == 6:
        os._exit(7)
    return 1.0


def _spoils_its_action(self: Odd, action: Any) -> float:
    action *= 0
    return 1.0


def _without_seed(self: Odd) -> tuple[Any, dict[str, Any]]:
    return self.observe(), {}


def _old_reset(self: Odd, seed: int | None = None, options: Any = None) -> Any:
    return self.observe()


def _old_step(self: Odd, action: Any) -> Any:
    return self.observe(), 1.0, False, {}


def _needs_options(self: Odd, *, seed: int | None = None, options: Any = None) -> Any:
    return self.observe(), {"level": options["level"]}


def _moves_away(self: Odd) -> NDArray[Any]:
    os.chdir("/")
    return np.zeros(3, np.float32)


SAME_INFO = {"k": 1}


def _same_array(self: Odd) -> NDArray[Any]:
    if not hasattr(self, "array"):
        self.array = np.zeros(3, np.float32)
    self.array[:] = self.steps / LENGTH
    return self.array


def _not_begun(self: Odd) -> int:
    raise RuntimeError("the simulation has not begun")


def _nan_after(self: Odd) -> NDArray[Any]:
    return np.full(3, np.nan if self.total == 30 else 0.5, np.float32)


def _changing(self: Odd) -> dict[str, Any]:
    kinds: list[Any] = [
        {"a": 1},
        {"a": "text", "b": object()},
        {"a": np.zeros(1 + self.steps)},
        {(1, 2): {"c": {3}}},
        {},
    ]
    return kinds[self.steps % 5]


class OldBox:
    """A space of another library, such as the old Gym."""

    shape = (2,)

    def seed(self, seed: int) -> None:
        """Nothing is random here."""


pair = spaces.Box(-1, 1, (2,), np.float32)

SHOWN: dict[str, spaces.Space[Any]] = {
    "DictInDict": spaces.Dict(a=spaces.Dict(b=pair, d=spaces.Tuple([pair, spaces.Discrete(3)])), c=pair),
    "Tuple": spaces.Tuple([spaces.Discrete(32), spaces.Discrete(11, start=1)]),
    "DottedKey": spaces.Dict({"a.b": pair, "type": pair}),
    "Bits": spaces.MultiBinary(8),
    "BitsSquare": spaces.MultiBinary((4, 4)),
    "FromTwo": spaces.Discrete(5, start=2),
    "GridOfChoices": spaces.MultiDiscrete(np.array([[3, 4], [5, 6]]), start=np.array([[1, 0], [-1, 2]])),
    "Scalar": spaces.Box(-1, 1, (), np.float32),
    "Doubles": spaces.Box(-np.inf, np.inf, (3,), np.float64),
    "Halves": spaces.Box(-1, 1, (3,), np.float16),
    "Integers": spaces.Box(0, 10**6, (3,), np.int64),
    "Text": spaces.Text(12),
    "DictWithText": spaces.Dict(mission=spaces.Text(12), place=pair),
    "DictWithNothing": spaces.Dict(place=pair, nothing=spaces.Box(-1, 1, (0,), np.float32)),
    "FloatPicture": spaces.Box(0, 1, (16, 20, 3), np.float32),
    "FloatPictureOfBytes": spaces.Box(0, 255, (3, 16, 20), np.float32),
    "WholePicture": spaces.Box(0, 255, (16, 20, 3), np.int64),
    "Mask": spaces.Box(0, 1, (40, 36), np.uint8),
    "Rooms": spaces.Box(0, 9, (16, 20), np.uint8),
    "GrayPicture": spaces.Box(0, 255, (16, 20), np.uint8),
    "StackedPictures": spaces.Box(0, 255, (4, 16, 20, 3), np.uint8),
    "StackedGray": spaces.Box(0, 255, (4, 16, 20), np.uint8),
    "ManyChannels": spaces.Box(0, 255, (16, 20, 12), np.uint8),
    "Symbols": spaces.Box(0, 255, (7, 7, 3), np.uint8),
    "DictWithPicture": spaces.Dict(image=spaces.Box(0, 255, (16, 20, 3), np.uint8), goal=spaces.Discrete(4)),
}
"""Observation spaces that have to be adapted, and one or two that need not."""

TAKEN: dict[str, spaces.Space[Any]] = {
    "ActBits": spaces.MultiBinary(4),
    "ActBitsSquare": spaces.MultiBinary((2, 3)),
    "ActGrid": spaces.MultiDiscrete(np.array([[3, 4], [5, 6]])),
    "ActFromMinusTwo": spaces.Discrete(5, start=-2),
    "ActGridStart": spaces.MultiDiscrete([3, 4], start=[1, -1]),
    "ActAsym": spaces.Box(np.float32([0, -100]), np.float32([1000, 3]), (2,), np.float32),
    "ActTiny": spaces.Box(-0.01, 0.01, (2,), np.float32),
    "ActZeroWidth": spaces.Box(np.float32([0, -1]), np.float32([0, 1]), (2,), np.float32),
    "ActWhole": spaces.Box(0, 255, (2,), np.uint8),
    "ActDoubles": spaces.Box(-1, 1, (2,), np.float64),
    "ActScalar": spaces.Box(-3, 5, (), np.float32),
    "ActMatrix": spaces.Box(-3, 5, (2, 2), np.float32),
    "ActDictOfChoices": spaces.Dict(a=spaces.Discrete(2, start=1), b=spaces.MultiDiscrete([3, 2])),
    "ActDictMixed": spaces.Dict(a=spaces.Discrete(2), b=spaces.Tuple([spaces.Box(-5, 5, (2,)), spaces.MultiBinary(2)])),
}
"""Action spaces that have to be adapted, and one that need not."""

REFUSED: dict[str, tuple[dict[str, spaces.Space[Any]], str]] = {
    "Graph": ({"observation_space": spaces.Graph(pair, None)}, "of the space Graph.*--wrapper mymodule:MyWrapper"),
    "Sequence": ({"observation_space": spaces.Sequence(pair)}, "of the space Sequence.*--wrapper"),
    "OneOf": ({"observation_space": spaces.OneOf((spaces.Discrete(2), pair))}, "of the space OneOf.*--wrapper"),
    "DictGraph": (
        {"observation_space": spaces.Dict(net=spaces.Graph(pair, None), place=pair)},
        r"part 'net'.*FilterObservation=\{\"filter_keys\": \[\"place\"\]\}",
    ),
    "EmptyDict": ({"observation_space": spaces.Dict({})}, "shows nothing to learn from"),
    "NoNumbers": ({"observation_space": spaces.Box(-1, 1, (0,), np.float32)}, "no numbers to learn from"),
    "OneAction": ({"action_space": spaces.Discrete(1)}, "leaves nothing to choose"),
    "ActUnbounded": (
        {"action_space": spaces.Box(-np.inf, np.inf, (1,), np.float32)},
        r"without bounds.*BoundActions=\{\"low\": \[-1.0\], \"high\": \[1.0\]\}",
    ),
    "ActHalfUnbounded": (
        {"action_space": spaces.Box(0, np.inf, (1,), np.float32)},
        r"without bounds.*BoundActions=\{\"low\": \[0.0\], \"high\": \[2.0\]\}",
    ),
    "ManyValues": ({"observation_space": spaces.Discrete(10**9)}, "shows choices of 1,000,000,000 values in all"),
    "ManyPlaces": (
        {"observation_space": spaces.Dict(place=pair, words=spaces.MultiDiscrete([10_000, 12_000]))},
        "shows choices of 22,000 values in all.*a Box of numbers",
    ),
    "LongText": ({"observation_space": spaces.Text(10_000)}, "shows choices of 630,000 values in all"),
    "ActManyValues": ({"action_space": spaces.Discrete(10**9)}, "takes choices of 1,000,000,000 values in all"),
    "NoSpace": ({"observation_space": None}, "has no observation_space, where an object of gymnasium.spaces"),
    "OldSpace": ({"action_space": OldBox()}, "has .*OldBox as action_space, where an object of gymnasium.spaces"),
    "ActText": ({"action_space": spaces.Text(3)}, "actions of the space Text cannot be chosen.*--wrapper"),
    "ActSequence": ({"action_space": spaces.Sequence(pair)}, "actions of the space Sequence cannot be chosen"),
}
"""Spaces that cannot be learned in, by name, with what is said about them."""

FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "Explodes": (
        {"pay": _raises(RuntimeError("physics exploded"), 30)},
        r"odd/Explodes-v0 raised RuntimeError in step\(\) of copy 0, step 30: physics exploded \(environments.py:\d+\)",
    ),
    "RaisesValue": (
        {"pay": _raises(ValueError("dt must be positive"), 30)},
        r"raised ValueError in step\(\) of copy 0, step 30: dt must be positive \(environments.py:\d+\)",
    ),
    "Exits": ({"pay": _raises(SystemExit(3), 5)}, r"raised SystemExit in step\(\) of copy 0, step 5: 3"),
    "NaNObs": ({"observe": _nan_after}, r"an observation that holds nan.*in step\(\) of copy 0, step 30"),
    "NoReward": ({"pay": lambda self, action: None}, "paid no number as reward but None.*step 1"),
    "TwoRewards": ({"pay": lambda self, action: np.zeros(2)}, r"no number as reward but one of shape \(2,\)"),
    "NaNReward": ({"pay": lambda self, action: np.float32(np.nan)}, "paid a reward of nan.*copy 0, step 1"),
    "WrongShape": (
        {"observe": lambda self: np.zeros(4, np.float32)},
        r"an observation of shape \(4,\), where its space has \(3,\)",
    ),
    "NoObservation": ({"observe": lambda self: None}, "an observation that is None"),
    "MissingKey": (
        {"observation_space": spaces.Dict(a=pair, b=pair), "observe": lambda self: {"a": np.zeros(2, np.float32)}},
        "an observation without the key 'b'",
    ),
    "OutOfBytes": (
        {
            "observation_space": spaces.Box(0, 255, (24, 24, 3), np.uint8),
            "observe": lambda self: np.full((24, 24, 3), 300.5),
        },
        "holds 300.5, which does not fit into the uint8",
    ),
    "OutOfChoices": (
        {"observation_space": spaces.Discrete(3), "observe": lambda self: 3},
        r"an observation of 3, which is not in its space Discrete\(3\)",
    ),
    "SeedlessReset": ({"reset": _without_seed}, r"raised TypeError in reset\(\).*unexpected keyword argument 'seed'"),
    "OldReset": ({"reset": _old_reset}, "returned no pair of observation and info"),
    "OldStep": ({"step": _old_step}, "returned 4 values, not observation, reward, terminated, truncated and info"),
    "HugeReward": (
        {"pay": lambda self, action: 1e300},
        r"paid a reward of 1e\+300; rewards must be numbers that float32",
    ),
    "HugeObs": (
        {
            "observation_space": spaces.Box(-np.inf, np.inf, (3,), np.float64),
            "observe": lambda self: np.array([1.0, -1e300, 0.0]),
        },
        r"an observation that holds 1e\+300, which is beyond what float32 can hold",
    ),
    "ManyEnds": ({"dies": lambda self: np.array([False, True])}, "returned terminated as a ndarray, not True or False"),
    "NeedsOptions": ({"reset": _needs_options}, r"raised TypeError in reset\(\).*\(environments.py:\d+\)"),
}
"""Environments that do something wrong, by name, with what is said about it."""

MASKS: dict[str, tuple[Callable[[Odd], Any], str | None]] = {
    "MaskParts": (lambda self: [[True, False, True], np.array([1, 0])], None),
    "MaskShort": (
        lambda self: np.ones(2, bool),
        r"gave masks of 2 values, where its actions have 5 \(in action_masks\(\)",
    ),
    "MaskNone": (lambda self: None, "gave masks as None, not as an array of True and False"),
    "MaskRaises": (
        _not_begun,
        r"raised RuntimeError in action_masks\(\) of copy 0, step 0: the simulation has not begun",
    ),
}
"""Masks of two choices, and what is said about them where they are wrong."""


def _refuses_forbidden(self: Odd, action: Any) -> float:
    if action == (self.steps - 1) % 3:
        raise ValueError(f"move {action} is not allowed")
    return float(action)


INFOS: dict[str, Callable[[Odd], Any]] = {
    "OwnTrue": lambda self: {"true_reward": -5.0 * self.steps, "proxy_reward": 3.0},
    "OwnTrueOdd": lambda self: {"true_reward": None, "proxy_reward": "n/a"},
    "OwnTerms": lambda self: {"reward_terms": [0.3, 0.7]},
    "EpisodeInt": lambda self: {"episode": 3, "is_success": "yes", "final_obs": 1, "TimeLimit.truncated": "no"},
    "InfoNone": lambda self: None,
    "Functions": lambda self: {"f": lambda: 3, "deep": {"g": [object()]}},
    "Changing": _changing,
    "Huge": lambda self: {"pixels": np.zeros((300, 300, 3)), "reward_x": np.zeros(2), "reward_y": "z"},
}
"""Infos that mean something else to somebody else, or cannot leave the process."""
INFOS["Any"] = lambda self: [*INFOS.values()][self.steps % 8](self) or {}
INFOS["Terms"] = lambda self: {f"reward_{self.steps % 3}": (1.0, np.nan, 2)[self.total % 3], "reward_text": "a"}

PAID: dict[str, tuple[Callable[..., Any], float]] = {
    "RewardInArray": (lambda self, action: np.array([2.0], np.float32), 2.0),
    "RewardWhole": (lambda self, action: 2, 2.0),
    "RewardFlag": (lambda self, action: np.bool_(True), 1.0),
}
"""Rewards that are one number in another form."""

for name, space in SHOWN.items():
    odd(name, observation_space=space)
for name, space in TAKEN.items():
    odd(name, action_space=space)
for name, (attributes, _) in [*REFUSED.items(), *FAULTS.items()]:
    odd(name, **attributes)
for name, inform in INFOS.items():
    odd(name, inform=inform)
for name, (pay, _) in PAID.items():
    odd(name, pay=pay)
for name, (masks, _) in MASKS.items():
    odd(name, action_space=spaces.MultiDiscrete([3, 2]), action_masks=masks)
odd("Masked", pay=_refuses_forbidden, action_masks=lambda self: np.arange(3) != self.steps % 3)
odd("Usual")
odd("MovesAway", observe=_moves_away)
odd("SameArray", observe=_same_array, inform=lambda self: SAME_INFO)
odd("Lists", reset=lambda self, **_: [self.observe(), {}], step=lambda self, _: [self.observe(), 1.0, False, False, {}])
odd("ListObs", observe=lambda self: [0.1, 0.2, float(self.steps % 2)])
odd("DiesAsProcess", pay=_dies_as_process)
odd("FlagsInArrays", dies=lambda self: np.array([self.steps >= 9]))
odd("OwnLimit", None, max_steps=25)
odd("NotBegunYet", None, max_steps=property(_not_begun), max_episode_steps=20, dt=property(_not_begun))
odd("NoLimit", None)
odd("RenderRaises", render=lambda self: {}["screen"])
odd("RenderNone", render=lambda self: None)
odd("RenderGray", render=lambda self: np.zeros((64, 96), np.uint8) + self.steps)
odd("RenderGrow", render=lambda self: np.zeros((64 + 4 * (self.steps % 3), 96, 3), np.uint8))
odd("NoFps", metadata={"render_modes": ["rgb_array"]})
odd("Fps0", metadata={"render_modes": ["rgb_array"], "render_fps": 0})
odd("FpsText", metadata={"render_modes": ["rgb_array"], "render_fps": "fast"})
odd("MetaNone", metadata=None)
odd("GlobalRNG", observe=lambda self: np.random.rand(3).astype(np.float32))  # noqa: NPY002 (that is its fault)
odd("Greedy", action_space=spaces.Box(-1, 1, (2,), np.float32), pay=_spoils_its_action)
odd("CannotClose", close=lambda self: {}["window"])
odd("OneNumber", observation_space=spaces.Box(-1, 1, (1,), np.float32), observe=lambda self: 0.25)
odd("ConstantReward", pay=lambda self, action: 1.0)


def cut_after_ten(render_mode: str | None = None) -> gym.Env[Any, Any]:
    """A time limit that the registration does not know of."""
    return gym.wrappers.TimeLimit(Odd(render_mode), 10)


class NeedsLevel(Odd):
    """Cannot be made without an argument."""

    def __init__(self, level: int, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.pace = 1 // level


class Parallel:
    """Of another library: no environment of Gymnasium."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self, render_mode: str | None = None) -> None:
        self.agents = ["a", "b"]


register("odd/CutAfterTen-v0", entry_point=cut_after_ten)
register("odd/NeedsLevel-v0", entry_point=NeedsLevel, max_episode_steps=LENGTH)
register("odd/Parallel-v0", entry_point=Parallel, max_episode_steps=LENGTH)
