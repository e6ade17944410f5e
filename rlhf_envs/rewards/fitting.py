"""Fitting a reward ensemble to answers of every kind."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rlhf_envs.rewards.dataset import PreferenceDataset
from rlhf_envs.rewards.encoding import Encoded
from rlhf_envs.rewards.ensemble import RewardEnsemble
from rlhf_envs.rewards.fit_config import FitConfig
from rlhf_envs.rewards.fit_problem import FitProblem
from rlhf_envs.rewards.forms import Form, best_form, fitted_parts, possible_forms, promising_forms

ALWAYS_FRESH_UP_TO = 400
"""Labels up to which every fit starts from fresh parameters: that takes a second or two, and what earlier, fewer labels
have taught wrongly is not carried on. Of pictures a fit learns slowly, and goes on from the last one."""

GROWTH_FOR_FRESH_START = 1.5
"""With more labels, how many times those of the last fresh start make `fit` start afresh. Also how many times those of
the last choice among forms of a reward make a fit from fresh parameters choose again."""

_STEPS_BETWEEN_CHECKS = 5
_UNCHECKED = 1 / 3
_FINAL_RATE = 0.1


@dataclass(frozen=True)
class FitReport:
    """What a fit did.

    Attributes:
        labels: how many answers there were, of all kinds.
        steps: steps of the optimiser.
        train_loss, held_out_loss: mean over members and labels, of the best parameters. NaN where there is no label.
        held_out_accuracy: how often members put two segments in the right order about which they know only from labels
            that they did not train on: those of a comparison, any two of a ranking, one rating and the next. A
            prediction of a tie is half right; answers of a tie do not count. NaN where there is none.
        seconds: wall time.
    """

    labels: int
    steps: int
    train_loss: float
    held_out_loss: float
    held_out_accuracy: float
    seconds: float


def fit(
    ensemble: RewardEnsemble,
    dataset: PreferenceDataset,
    config: FitConfig | None = None,
    *,
    fresh: bool | None = None,
    unlabelled: Encoded | None = None,
) -> FitReport:
    """Fit the ensemble to all labels of the dataset, and normalise its reward over their segments.

    Each member trains on its own sample of the labels, and keeps the parameters of lowest loss on those that it holds
    out. The same arguments give the same result, bit for bit. A fit from fresh parameters also chooses what the reward
    is made of (`forms`), if the labels have grown by half since the last choice.

    Args:
        fresh: whether to start from new parameters, or to go on from those of the last fit, which takes less than half
            of the time. None starts anew with up to `ALWAYS_FRESH_UP_TO` labels, unless pictures are observed, and
            otherwise when the labels have grown by half since the last fresh start: parameters that were fitted to few
            labels never quite lose what they wrongly made of them. Where members held out other labels in the last fit
            than they do now, the fit starts anew in any case, so that what a member holds out it has never seen.
        unlabelled: segments of recent rollouts that no answer is about, every array with the leading axes
            (segments, T), for `FitConfig.dynamics`, which goes by the labelled ones alone where None, and
            `FitConfig.pseudo_labels`, of which there are none then.

    Raises:
        ValueError: if the dataset is empty or belongs to other spaces, or the unlabelled segments have another length.
    """
    started = time.perf_counter()
    config = config or FitConfig()
    labels = len(dataset)
    if not labels:
        raise ValueError("Fitting a reward needs at least one answer that teaches something, and there is none.")
    if fresh is None:
        grown = labels >= GROWTH_FOR_FRESH_START * ensemble.labels_at_fresh_start
        few = labels <= ALWAYS_FRESH_UP_TO and not ensemble.encoder.image_shapes
        fresh = few or grown
    fresh = fresh or ensemble.fits == 0 or ensemble.resampling != config.resampling
    ensemble.resampling = config.resampling
    if fresh:
        ensemble.labels_at_fresh_start = labels
    ensemble.read_varying(dataset.flat_steps, fresh=fresh)
    unlabelled = unlabelled if config.uses_unlabelled else None
    kept = fitted_parts(ensemble.network)
    forms: tuple[Form, ...] = (Form(kept, ensemble.penalties),)
    if fresh and labels >= GROWTH_FOR_FRESH_START * ensemble.labels_at_choice_of_form:
        # Seldom: to fit every form in part, and some to the end, costs more than the fit that is kept.
        forms = possible_forms(ensemble.network, config)
        ensemble.labels_at_choice_of_form = labels
    trainings = []
    for form in forms:
        if fresh:
            ensemble.network = ensemble.fresh_network()
        problem = FitProblem(ensemble, dataset, config, unlabelled, form)
        trainings.append(_Training(problem, labels, config, ensemble.generator(stream=1), fresh))
    best = _train_best(forms, trainings, kept, terminates=ensemble.encoder.absorbing)
    problem, steps = trainings[best].problem, trainings[best].step
    ensemble.penalties = forms[best].penalties
    ensemble.network = problem.network
    train_loss, held_out_loss, accuracy = problem.summary()
    ensemble.fits += 1
    # Nobody has said what a termination is worth before an answer was about one.
    ensemble.anchored = ensemble.encoder.absorbing and bool(dataset.flat_steps.vector[:, -1].any())
    ensemble.normalise_encoded(dataset.flat_steps, problem.segment_length)
    if not all(problem.members_with_a_sample):
        # They have trained on labels that they hold out once there are more.
        ensemble.resampling = ""
    return FitReport(labels, steps, train_loss, held_out_loss, accuracy, time.perf_counter() - started)


def _train_best(forms: tuple[Form, ...], trainings: list[_Training], kept: frozenset[str], terminates: bool) -> int:
    """Train each form, but those that are far behind after a third of their steps only so far; the best one's place.

    Most of the time of a choice would otherwise go into forms that are not chosen.
    """
    places = list(range(len(forms)))
    if len(forms) > 1:
        for training in trainings:
            training.advance(training.informed)
        places = promising_forms(forms, [training.problem.held_out_losses() for training in trainings], kept)
    for place in places:
        trainings[place].advance(trainings[place].total)
    if len(places) == 1:
        return places[0]
    losses = [trainings[place].problem.held_out_losses() for place in places]
    return places[best_form([forms[place] for place in places], losses, kept, terminates)]


def segment_returns(ensemble: RewardEnsemble, dataset: PreferenceDataset) -> NDArray[np.float64]:
    """Raw returns of the dataset's segments under each member, (members, segments)."""
    return ensemble.encoded_returns(dataset.flat_steps, dataset.steps.vector.shape[1]).astype(np.float64)


class _Training:
    """A fit under way, which can be advanced in parts; the parts together are the same as the whole at once.

    Attributes:
        problem: what is fitted.
        step: of the optimiser, the last one that was made.
        total: steps at most.
        informed: the step before which fresh parameters know nothing yet that could be gone by.
    """

    def __init__(
        self, problem: FitProblem, labels: int, config: FitConfig, generator: torch.Generator, fresh: bool
    ) -> None:
        self.problem = problem
        self._labels, self._config, self._generator = labels, config, generator
        self._batch = min(config.batch, labels)
        epoch = -(-labels // self._batch)
        wanted = min(max(config.steps, config.epochs * epoch), config.most_steps)
        self.total = max(1, round(wanted * (1.0 if fresh else config.warm_start_share)))
        self.informed = int(self.total * _UNCHECKED) + 1 if fresh else 1
        self._between_checks = max(epoch, _STEPS_BETWEEN_CHECKS)
        self._optimiser = torch.optim.AdamW(
            [*problem.parameters, *problem.auxiliary_parameters],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self._order = torch.empty(0, dtype=torch.int64)
        self._last_better = self.step = 0
        self._ended = False

    def advance(self, until: int) -> None:
        """Go on to a step; at the last one, or where nothing gets better, the best parameters are restored."""
        while self.step < until and not self._ended:
            self.step += 1
            self._make_step()
            if self.step == self.total or (
                self.step > self.total * _UNCHECKED and self.step % self._between_checks == 0
            ):
                if self.problem.check():
                    self._last_better = self.step
                waited = self.step - self._last_better >= self._config.patience * self._between_checks
                self._ended = self.step == self.total or (self._last_better > 0 and waited)
        if self._ended:
            self.problem.restore_best()

    def _make_step(self) -> None:
        config, generator = self._config, self._generator
        if len(self._order) < self._batch:
            self._order = torch.cat([self._order, torch.randperm(self._labels, generator=generator)])
        chosen, self._order = self._order[: self._batch], self._order[self._batch :]
        if self.step == self.informed:
            self.problem.go_by_predictions(generator)
        for group in self._optimiser.param_groups:
            group["lr"] = config.learning_rate * (1 - (1 - _FINAL_RATE) * self.step / self.total)
        self._optimiser.zero_grad()
        length = _cropped_length(config.crop, self.problem.segment_length, generator)
        self.problem.train_loss(chosen.to(self.problem.device), length, generator).backward()
        self._optimiser.step()


def _cropped_length(crop: float, segment_length: int, generator: torch.Generator) -> int:
    """Of the windows that a step of the optimiser looks at; nothing is drawn where there is no choice."""
    shortest = max(1, round(crop * segment_length))
    if shortest == segment_length:
        return segment_length
    return int(torch.randint(shortest, segment_length + 1, (1,), generator=generator))
