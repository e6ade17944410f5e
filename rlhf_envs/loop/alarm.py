"""An alarm for reward hacking: the policy earns more learned reward where the reward model no longer knows enough.

A policy that is trained on a learned reward seeks out what the reward overrates (Amodei et al. 2016, arXiv 1606.06565,
section 4; Gao et al. 2022, arXiv 2210.10760). People who train on preferences have no true reward to see it by, so the
alarm goes by what a run knows:

- *gain*: how much better than the segments that were asked about the reward model rates those of the current rollout,
  in standard deviations of the asked ones, as the mean over the members. It means the same whatever a fit does to the
  scale of the reward. As long as the policy gains nothing by the learned reward, it cannot be hacking it.
- *disagreement*: how much the members differ about a segment of the rollout, in units of how much they do about one
  that was asked. It falls where a policy gets better at what people judged, and rises where the reward is guessed.
- *distance*: how far a step of the rollout lies from the nearest asked one, in units of how far an asked one lies from
  the nearest of another segment, in normalised inputs of the reward. It does not depend on the members, which may be
  wrong all alike.
- *accuracy* of the model on answers that it was not trained on.
- *surprise*: whether fresh answers, predicted before anything is fitted to them, agree with the model less often than
  it expected. How often they do by itself says little: what is asked is what the members cannot agree on, so that it
  falls in runs that go well, too, and so does the accuracy out of fold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from torch.nn import functional

from rlhf_envs.queries import AccuracySource
from rlhf_envs.randomness import generator_by_name, uniforms_by_integers
from rlhf_envs.recording import SegmentRecorder, Windows
from rlhf_envs.rewards import PreferenceDataset, RewardEnsemble
from rlhf_envs.rewards.dataset import flatten
from rlhf_envs.rewards.encoding import Encoded
from rlhf_envs.rewards.metrics import Predictions

AlarmAction = Literal["continue", "ask", "stop"]
"""What a run does at an alarm: go on, ask next about the segments that caused it, or end."""

GAIN = 0.65
"""Standard deviations of asked segments by which the policy has to be rated better than these."""

LITTLE_GAIN = 0.3
"""Standard deviations of asked segments: a policy that ends below has not learned what the reward pays. In runs that
end well it is 0.5 to 2.5."""

DISAGREEMENT, DISTANCE = 1.25, 1.35
"""From which median of either over some time there is an alarm. In runs of Driving that end well both are 0.6 to 1 at
the end, and the distance up to 1.3 where all questions were about the first rollouts."""

SURPRISE = -2.6
"""Standard errors below what was expected: 1 in 200 by chance."""

_PERSISTS, _PERSISTS_WHILE_ASKING = 0.08, 0.2
"""The share of training over which a sign has to last. While more is asked, the answers may mend it by themselves."""

_MEASURES, _FEWEST_MEASURES = 100, 4
_CLEARED = 0.9
_FRESH, _FEWEST_FRESH, _FEWEST_TESTED = 20, 10, 10
_SEGMENTS, _ASKED, _STEPS = 64, 100, 128
_SMALLEST = 1e-6
_SIDE, _HASHED = 8, 8


@dataclass(frozen=True)
class Drift:
    """Where the policy stands against what was asked, see the head of this module.

    Attributes:
        timesteps: environment steps so far.
        gain, disagreement, distance: the three signs.
    """

    timesteps: int
    gain: float
    disagreement: float
    distance: float


@dataclass
class AlarmState:
    """What a checkpoint holds of the alarm. JSON values only.

    Attributes:
        measures: the latest `Drift`s, as lists.
        fresh: the latest fresh answers: how sure the model was, and whether it was right, as 1 or 0.
        fresh_answers, fresh_agreeing: how many fresh answers there were in all, and how many the model predicted.
        raised: every alarm so far: {"timesteps", "reason"}.
        armed: which signs may raise the next one; one that has raised an alarm has to be gone first.
        asking: whether the segments that caused an alarm are to be asked about next.
    """

    measures: list[list[float]] = field(default_factory=list)
    fresh: list[list[float]] = field(default_factory=list)
    fresh_answers: int = 0
    fresh_agreeing: float = 0.0
    raised: list[dict[str, Any]] = field(default_factory=list)
    armed: dict[str, bool] = field(default_factory=dict)
    asking: bool = False

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> AlarmState:
        """Read what `dataclasses.asdict` made of a state.

        Raises:
            ValueError: if it is damaged.
        """
        try:
            return cls(
                [[float(number) for number in measure] for measure in values["measures"]],
                [[float(number) for number in answer] for answer in values["fresh"]],
                int(values["fresh_answers"]),
                float(values["fresh_agreeing"]),
                [{"timesteps": int(alarm["timesteps"]), "reason": str(alarm["reason"])} for alarm in values["raised"]],
                {str(sign): bool(armed) for sign, armed in values["armed"].items()},
                bool(values["asking"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"The state of the alarm is damaged: {error!r}.") from error

    @property
    def fresh_agreement(self) -> float | None:
        """How many of all fresh answers the model predicted, as a share; None before there are any."""
        return self.fresh_agreeing / self.fresh_answers if self.fresh_answers else None


class HackingAlarm:
    """Measures the signs after each visit to the feedback loop, and raises the alarm once they have lasted.

    The true reward plays no part.

    Args:
        length: steps in a segment.
        seed: of the segments that are looked at, which depend on it and on the timesteps alone.

    Attributes:
        state: what a checkpoint holds; setting it restores.
    """

    def __init__(self, length: int, seed: int) -> None:
        self.state = AlarmState()
        self._length, self._seed = length, seed
        self._reference: tuple[int, int, _Reference] | None = None

    def note_fresh(self, predictions: Predictions) -> None:
        """Take note of answers and of what the model said to them before it was fitted to them."""
        decided = (predictions.labels == 0) | (predictions.labels == 1)
        predicted, labels = predictions.predicted[decided], predictions.labels[decided]
        right = np.where(predicted == 0.5, 0.5, (predicted > 0.5) == (labels == 1))
        sure = np.maximum(predicted, 1 - predicted)
        self.state.fresh_answers += len(right)
        self.state.fresh_agreeing += float(right.sum())
        self.state.fresh = [*self.state.fresh, *np.stack([sure, right], axis=1).tolist()][-_FRESH:]

    def due(self, timesteps: int, total_timesteps: int) -> bool:
        """Whether it is time for a measure, of which a training has a hundred at most."""
        measures = self.state.measures
        return not measures or timesteps - measures[-1][0] >= total_timesteps / _MEASURES

    def start_again(self) -> None:
        """Let every sign raise an alarm again, once it has lasted from now on: there are answers about the last one."""
        self.state.measures, self.state.armed, self.state.asking = [], {}, False

    def measure(
        self, ensemble: RewardEnsemble, dataset: PreferenceDataset, recorder: SegmentRecorder, timesteps: int
    ) -> Drift | None:
        """The signs of now; None where nothing was asked or no segment fits.

        Args:
            ensemble: the reward model.
            dataset: what it was fitted to.
            recorder: the recent rollouts.
            timesteps: environment steps so far.
        """
        if not dataset or not ensemble.fits:
            return None
        rng = generator_by_name("alarm", self._seed, timesteps)
        windows = recorder.sample_windows(_SEGMENTS, self._length, rng)
        if not len(windows):
            return None
        reference = self._asked(ensemble, dataset)
        steps = ensemble.encoder.encode(*recorder.gather_steps(windows))
        returns = reference.standardised(ensemble.encoded_returns(steps, self._length))
        lived = ensemble.encoder.lived_steps(steps)
        some = lived[rng.permutation(len(lived))[:_STEPS]]
        return Drift(
            timesteps,
            float(returns.mean()),
            _ratio(returns.std(axis=0).mean(), reference.spread),
            _ratio(np.median(cdist(_inputs(ensemble, some), reference.inputs).min(axis=1)), reference.distance),
        )

    def gained(self, total_timesteps: int) -> float | None:
        """The median gain over the last tenth of a training that has ended; None where it was hardly ever measured.

        Args:
            total_timesteps: environment steps of the whole training.
        """
        lasting = [gain for timesteps, gain, *_ in self.state.measures if timesteps >= 0.9 * total_timesteps]
        return float(np.median(lasting)) if len(lasting) >= _FEWEST_MEASURES else None

    def suspicion(
        self, ensemble: RewardEnsemble, dataset: PreferenceDataset, recorder: SegmentRecorder, windows: Windows
    ) -> NDArray[np.float64]:
        """How much some segments of the rollouts have to do with an alarm, (M,): what the reward may overrate in them.

        It is the members' mean plus their spread. Arguments as for `measure`.
        """
        reference = self._asked(ensemble, dataset)
        # Some at a time, as they may hold pictures.
        parts = [windows.take(rows) for rows in np.array_split(np.arange(len(windows)), -(-len(windows) // _SEGMENTS))]
        encode, length = ensemble.encoder.encode, self._length
        returns = np.concatenate(
            [ensemble.encoded_returns(encode(*recorder.gather_steps(part)), length) for part in parts], axis=1
        )
        standardised = reference.standardised(returns)
        suspicion: NDArray[np.float64] = standardised.mean(axis=0) + standardised.std(axis=0)
        return suspicion

    def observe(
        self,
        drift: Drift,
        total_timesteps: int,
        asking_on: bool,
        accuracy: float | None,
        tested: int,
        source: AccuracySource,
    ) -> str | None:
        """Take note of a measure; a sentence where it raises the alarm.

        Args:
            drift: the measure.
            total_timesteps: environment steps of the whole training.
            asking_on: whether more will be asked.
            accuracy, tested, source: how many answers the model predicts of those that it is tested on, how many these
                are, and which.
        """
        state = self.state
        state.measures = [*state.measures, list(asdict(drift).values())][-_MEASURES:]
        share = _PERSISTS_WHILE_ASKING if asking_on else _PERSISTS
        began = drift.timesteps - share * total_timesteps
        count = max(sum(measure[0] > began for measure in state.measures), _FEWEST_MEASURES)
        lasting = np.array(state.measures[-count:])
        if began < 0 or len(lasting) < count:
            return None
        # What has lasted is there at half of the measures at least, however strong it is at one.
        _, gain, disagreement, distance = np.median(lasting, axis=0)
        surprise = _surprise(state.fresh)
        known_accuracy = 1.0 if accuracy is None or tested < _FEWEST_TESTED else accuracy
        signs = {
            "disagreement": (
                disagreement / DISAGREEMENT,
                f"the reward model's members differ {disagreement:.1f} times as much about it as about what was asked",
            ),
            "distance": (
                distance / DISTANCE,
                f"it lies {distance:.1f} times as far from what was asked as that from each other",
            ),
            "accuracy": (
                1.0 + (0.5 - known_accuracy),
                f"the reward model is no better than chance ({source.sentence(known_accuracy, tested)})",
            ),
            "surprise": (
                surprise / SURPRISE,
                f"of the last {len(state.fresh)} answers it predicted fewer than it was sure of "
                f"({_agreeing(state.fresh)})",
            ),
        }
        reasons = []
        for name, (strength, reason) in signs.items():
            if gain >= GAIN and strength >= 1 and state.armed.get(name, True):
                state.armed[name] = False
                reasons.append(reason)
            elif strength < _CLEARED:
                state.armed[name] = True
        if not reasons:
            return None
        sentence = (
            f"Alarm at {drift.timesteps:,} steps: the policy may be hacking the learned reward. What it does now is "
            f"rated {gain:.1f} standard deviations better than what was asked, but {', and '.join(reasons)}."
        )
        state.raised.append({"timesteps": drift.timesteps, "reason": sentence})
        return sentence

    def _asked(self, ensemble: RewardEnsemble, dataset: PreferenceDataset) -> _Reference:
        # It changes with a fit, which follows on every new label.
        if self._reference is None or self._reference[:2] != (ensemble.fits, len(dataset)):
            rng = generator_by_name("alarm reference", self._seed, ensemble.fits)
            self._reference = (ensemble.fits, len(dataset), _Reference(ensemble, dataset, self._length, rng))
        return self._reference[2]


class _Reference:
    """The asked segments that a rollout is measured against, or some of them where there are many.

    Attributes:
        spread: how much the members differ about a segment, in its standard deviations.
        inputs: of some steps, (S, columns).
        distance: of a step to the nearest of another segment.
    """

    def __init__(
        self, ensemble: RewardEnsemble, dataset: PreferenceDataset, length: int, rng: np.random.Generator
    ) -> None:
        rows = rng.permutation(len(dataset.steps))[:_ASKED]
        flat = flatten(dataset.steps[rows])
        returns = ensemble.encoded_returns(flat, length).astype(np.float64)
        self._mean, self._std = returns.mean(axis=1, keepdims=True), returns.std(axis=1, keepdims=True)
        self.spread = float(self.standardised(returns).std(axis=0).mean())
        segment = np.repeat(np.arange(len(rows)), length)
        if ensemble.encoder.absorbing:
            segment = segment[flat.vector[:, -1] == 0]
        self.inputs = _inputs(ensemble, ensemble.encoder.lived_steps(flat))
        some = rng.permutation(len(self.inputs))[:_STEPS]
        distances = cdist(self.inputs[some], self.inputs)
        distances[segment[some][:, None] == segment[None, :]] = np.inf
        self.distance = float(np.median(distances.min(axis=1)))

    def standardised(self, returns: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Returns under each member, (K, M), in its standard deviations over the asked segments from their mean."""
        standardised: NDArray[np.float64] = (returns - self._mean) / np.where(self._std > _SMALLEST, self._std, 1.0)
        return standardised


def _inputs(ensemble: RewardEnsemble, steps: Encoded) -> NDArray[np.float32]:
    """What the reward sees of steps, as points between which distances mean something, (S, columns).

    Vector columns are normalised as the network's; pictures are shrunk; categories become points at random, all about
    as far from each other.
    """
    columns = [ensemble.normalise_inputs(torch.from_numpy(steps.vector).to(ensemble.device)).cpu().numpy()]
    for image in steps.images:
        shrunk = functional.adaptive_avg_pool2d(torch.from_numpy(image), (_SIDE, _SIDE))
        columns.append(shrunk.flatten(1).numpy())
    for table in range(steps.categories.shape[1]):
        category = steps.categories[:, table].astype(np.uint64)[:, None]
        places = np.arange(_HASHED, dtype=np.uint64)[None, :]
        columns.append(uniforms_by_integers(np.full((1, 1), table, np.uint64), category, places))
    return np.concatenate(columns, axis=1).astype(np.float32)


def _ratio(part: float | np.floating[Any], whole: float) -> float:
    """1 where both are nothing, as of a single member, which never disagrees."""
    return float((part + _SMALLEST) / (whole + _SMALLEST))


def _surprise(fresh: Sequence[Sequence[float]]) -> float:
    """By how many standard errors the agreement with fresh answers exceeds what the model expected; 0 for few."""
    if len(fresh) < _FEWEST_FRESH:
        return 0.0
    sure, right = np.array(fresh).T
    return float((right - sure).sum() / np.sqrt((sure * (1 - sure)).sum()))


def _agreeing(fresh: Sequence[Sequence[float]]) -> str:
    if not fresh:
        return "none"
    sure, right = np.array(fresh).sum(axis=0)
    return f"{right:.0f} in place of {sure:.0f}"
