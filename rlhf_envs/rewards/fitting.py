"""Fitting a reward ensemble to answers of every kind."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlhf_envs.kinds import Comparison, LabelBatch
from rlhf_envs.objectives import LEAST_ERROR
from rlhf_envs.rewards.dataset import Labels, PreferenceDataset
from rlhf_envs.rewards.encoding import Encoded
from rlhf_envs.rewards.ensemble import RewardEnsemble
from rlhf_envs.rewards.network import MemberNetwork, segment_events
from rlhf_envs.rewards.resampling import RESAMPLING, draw_samples
from rlhf_envs.rewards.unlabelled import Dynamics, PseudoLabels, windows

ALWAYS_FRESH_UP_TO = 400
"""Labels up to which every fit starts from fresh parameters: that takes a second or two, and what earlier, fewer labels
have taught wrongly is not carried on. Of pictures a fit learns slowly, and goes on from the last one."""

GROWTH_FOR_FRESH_START = 1.5
"""With more labels, how many times those of the last fresh start make `fit` start afresh."""

_STEPS, _POTENTIAL, _ENDING = "steps", "potential", "ending"
_STANDARD_ERRORS = 1.5
"""By which another form than rewards of steps has to predict held-out labels better, to take their place. One that the
last choice took stays as long as it predicts them better at all; and where episodes terminate there is something to
reach or to avoid, so that a potential need not predict them clearly better."""

_PROMISING = 0.5
"""A form that is this many standard errors behind the first after a third of its steps is not fitted to the end."""

DOUBTFUL_PENALTIES = 10.0
"""How many times the usual penalties a fit charges where that predicts held-out labels better."""

_STEPS_BETWEEN_CHECKS = 5
_UNCHECKED = 1 / 3
_FINAL_RATE = 0.1
_CHUNK = 512
_EVERY_STEP = _EVERY_LABEL = slice(None)


@dataclass(frozen=True)
class FitConfig:
    """How an ensemble is fitted.

    Attributes:
        batch: labels per step of the optimiser.
        steps: steps of a fit from fresh parameters, or more where `epochs` asks for them.
        epochs: passes over the labels that a fit makes at least.
        most_steps: steps of a fit from fresh parameters at most, whatever `epochs` asks for: from some 4,000 labels on,
            a fit takes no longer the more there are.
        warm_start_share: the share of those steps that a fit from the parameters of the last one takes.
        learning_rate: of AdamW at the first step; it falls linearly to a tenth.
        weight_decay: of AdamW.
        group_lasso: what the curves of an input cost, times the length of the vector of their three weights (Yuan and
            Lin 2006, "Model selection and estimation in regression with grouped variables", equation 2.1). Adam moves
            the weights of inputs that matter and of those that do not at the same pace, so that without it a hundred
            answers put something down to every one of them. 0 for nothing; only of additive rewards, and not where
            categories have embeddings.
        ridge: what the squares of the weights of the hidden layers cost, so that the network says what the curves
            cannot, and no more. 0 for nothing. Where many answers are wrong, ten times both is better, and whenever the
            labels have grown by half it is found out whether held-out ones are predicted better with that.
        patience: a fit ends when no member's held-out loss has fallen for this many checks. Checks begin after a third
            of the steps, and are an epoch, but at least 5 steps, apart.
        resampling: which labels each member trains on: all but its share, which it holds out ("folds"), or as many as
            there are, drawn with replacement ("bootstrap").
        crop: the shortest part of a segment that a step of the optimiser looks at. At each step a length between that
            and the whole is drawn, and every segment of its labels is cut to a window of that length, each at a place
            of its own (temporal cropping of SURF, Park et al. 2022, arXiv 2203.10050, section 4.2). 1 cuts nothing.
            Kinds that say something of single steps, as ratings do, are never cut.
        dynamics: weight of a self-supervised loss: from the last hidden layer the change of the observation to the next
            step is predicted, on labelled and unlabelled steps (`rlhf_envs.rewards.unlabelled.Dynamics`; REED, Metcalf
            et al. 2022, arXiv 2211.06527). 0 for none.
        pseudo_labels: how sure the ensemble must be of a pair of unlabelled segments, all members agreeing, to take its
            own prediction for an answer, from 0.5 to 1 (`rlhf_envs.rewards.unlabelled.PseudoLabels`; SURF, section
            4.1, has 0.99). They are drawn anew in each fit after a third of its steps. 0 for none.
        label_smoothing: how far the target of a comparison is moved from 0 or 1 towards 0.5, as a share, while training
            (Szegedy et al. 2016, arXiv 1512.00567, section 7). 0 for none.
        small_loss: trust labels of small loss (as co-teaching does, Han et al. 2018, arXiv 1804.06872, and RIME, Cheng
            et al. 2024, arXiv 2402.17257): after a third of the steps, a label on which the members that do not train
            on it have a loss l above this, in nats, counts only this / l as much. Guessing has a loss of 0.69. Kinds
            that say something of single steps are left alone. 0 for none.
    """

    batch: int = 16
    steps: int = 160
    epochs: int = 8
    most_steps: int = 2000
    warm_start_share: float = 0.4
    learning_rate: float = 5e-3
    weight_decay: float = 0.01
    group_lasso: float = 0.3
    ridge: float = 0.01
    patience: int = 6
    resampling: Literal["folds", "bootstrap"] = "folds"
    crop: float = 0.7
    dynamics: float = 0.0
    pseudo_labels: float = 0.0
    label_smoothing: float = 0.0
    small_loss: float = 0.0

    def __post_init__(self) -> None:
        for name in ("batch", "steps", "epochs", "most_steps", "warm_start_share", "learning_rate", "patience"):
            # Written as what must hold, so that NaN, which holds for nothing, is refused as well.
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, not {getattr(self, name)}.")
        for name in ("weight_decay", "group_lasso", "ridge", "dynamics", "small_loss"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or more and finite, not {getattr(self, name)}.")
        if not (self.pseudo_labels == 0 or 0.5 <= self.pseudo_labels < 1):
            raise ValueError(f"pseudo_labels must be 0 or from 0.5 to below 1, not {self.pseudo_labels}.")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be 0 or more and below 1, not {self.label_smoothing}.")
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop must be above 0 and at most 1, not {self.crop}.")
        if self.resampling not in RESAMPLING:
            raise ValueError(f"There is no resampling {self.resampling!r}; choose from {', '.join(RESAMPLING)}.")

    @property
    def penalised(self) -> bool:
        """Whether anything is charged for weights."""
        return self.group_lasso > 0 or self.ridge > 0

    @property
    def uses_unlabelled(self) -> bool:
        """Whether a fit makes use of segments that nobody was asked about."""
        return self.dynamics > 0 or self.pseudo_labels > 0


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
    out. The same arguments give the same result, bit for bit.

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
    kept = _fitted_parts(ensemble.network)
    forms: tuple[_Form, ...] = (_Form(kept, ensemble.penalties),)
    if fresh and labels >= GROWTH_FOR_FRESH_START * ensemble.labels_at_choice_of_form:
        # Seldom: a fit of each form costs as much as the fit that is kept.
        forms = _forms(ensemble.network, config)
        ensemble.labels_at_choice_of_form = labels
    trainings = []
    for form in forms:
        if fresh:
            ensemble.network = ensemble.fresh_network()
        problem = _Problem(ensemble, dataset, config, unlabelled, form)
        trainings.append(_Training(problem, labels, config, ensemble.generator(stream=1), fresh))
    if len(trainings) > 1:
        forms, trainings = _contenders(forms, trainings, kept)
    for training in trainings:
        training.advance(training.total)
    losses = [training.problem.held_out_losses() for training in trainings] if len(trainings) > 1 else []
    best = _best_form(forms, losses, kept, terminates=ensemble.encoder.absorbing) if losses else 0
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


class _Form(NamedTuple):
    """What a reward is made of, and how many times the penalties of `FitConfig` it is charged."""

    parts: frozenset[str]
    penalties: float = 1.0


def _forms(network: MemberNetwork, config: FitConfig) -> tuple[_Form, ...]:
    """What a reward may be: of steps, of these and a potential, of a potential alone, or of steps and plainer."""
    steps, potential = frozenset({_STEPS}), frozenset({_POTENTIAL})
    forms = [_Form(steps)]
    if network.has_potential:
        forms += [_Form(steps | potential), _Form(potential)]
    if config.penalised:
        forms.append(_Form(steps, DOUBTFUL_PENALTIES))
    return tuple(forms)


def _contenders(
    forms: tuple[_Form, ...], trainings: list[_Training], kept: frozenset[str]
) -> tuple[tuple[_Form, ...], list[_Training]]:
    """Of all forms, trained in part: the first, what has been kept so far, and what may predict held-out labels better.

    Most of the time of a choice would otherwise go into forms that are far behind after a third of their steps.
    """
    losses = []
    for training in trainings:
        training.advance(training.informed)
        losses.append(training.problem.held_out_losses())
    places = []
    for place, (form, tried) in enumerate(zip(forms, losses, strict=True)):
        behind, error = _mean_and_error(tried - losses[0])
        if not behind > _PROMISING * error or form == _Form(kept):
            places.append(place)
    return tuple(forms[place] for place in places), [trainings[place] for place in places]


def _best_form(
    forms: Sequence[_Form], losses: Sequence[NDArray[np.float64]], kept: frozenset[str], terminates: bool
) -> int:
    """The form that predicts held-out labels best.

    Another one than the first has to predict them better than guessing; one with a potential clearly better than the
    first, as a policy finds more ways to be paid by it, and a plainer one, what has been kept so far, or any where
    episodes terminate, just better.

    Args:
        forms: the usual one first.
        losses: of each form on every held-out label, (labels,).
        kept: the parts that the reward has been made of.
        terminates: whether episodes end by themselves.
    """
    best, least = 0, math.log(2)
    for place, (form, tried) in enumerate(zip(forms, losses, strict=True)):
        if len(tried) > 1 and tried.mean() < least:
            difference, error = _mean_and_error(tried - losses[0])
            mild = form.penalties > 1 or form.parts == kept or terminates
            if difference < (0.0 if mild else -_STANDARD_ERRORS * error):
                best, least = place, float(tried.mean())
    return best


def _mean_and_error(sample: NDArray[np.float64]) -> tuple[float, float]:
    """The mean of a sample (labels,) and its standard error; NaN where there are too few labels to tell."""
    if len(sample) < 2:
        return math.nan, math.nan
    return float(sample.mean()), float(sample.std(ddof=1)) / math.sqrt(len(sample))


def _fitted_parts(network: MemberNetwork) -> frozenset[str]:
    """What a reward that was fitted is made of."""
    weights = {_STEPS: network.weights[-1], **network.event_weights}
    return frozenset(name for name in (_STEPS, _POTENTIAL) if name in weights and bool(weights[name].any()))


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
        self, problem: _Problem, labels: int, config: FitConfig, generator: torch.Generator, fresh: bool
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


class _Problem:
    """The labels of all kinds as one thing to minimise, the network, and the best parameters of each member so far."""

    def __init__(
        self,
        ensemble: RewardEnsemble,
        dataset: PreferenceDataset,
        config: FitConfig,
        unlabelled: Encoded | None,
        form: _Form,
    ) -> None:
        self.config, self.objective = config, ensemble.objective
        parts, self._penalties = form
        self.network = ensemble.network
        trained = parts | {_ENDING}
        self._pays_events = not trained.isdisjoint(self.network.event_weights.keys())
        self.parameters = []
        for name, parameter in self.network.named_parameters():
            event = name.removeprefix("event_weights.")
            if (event if event != name else _STEPS) in trained:
                self.parameters.append(parameter)
        self._pays_steps = _STEPS in parts
        if not self._pays_steps:
            nn.init.zeros_(self.network.weights[-1])
        self.members = ensemble.config.members
        steps, labelled = dataset.steps, len(dataset.steps)
        self.device = device = ensemble.device
        self._absorbing = ensemble.encoder.absorbing
        self.segment_length = steps.vector.shape[1]
        if unlabelled is not None:
            steps = _joined(steps, unlabelled)
        self._vector = ensemble.normalise_inputs(torch.from_numpy(steps.vector).to(device))
        self._images = [torch.from_numpy(image).to(device) for image in steps.images]
        self._categories = torch.from_numpy(steps.categories).to(device)
        samples, self.members_with_a_sample = draw_samples(ensemble, dataset, config.resampling)
        self._terms = [
            _Term(ensemble, dataset.labels(kind), sample, config.label_smoothing) for kind, sample in samples.items()
        ]
        self._unlabelled = torch.arange(labelled, len(steps), device=device)
        self._pseudo_labels: PseudoLabels | None = None
        self._dynamics: Dynamics | None = None
        if config.dynamics:
            self._dynamics = Dynamics(
                self._vector,
                ensemble.observed,
                ensemble.encoder.absorbing,
                self.members,
                ensemble.config.hidden[-1],
                ensemble.generator(stream=2),
            )
        self.best = torch.full((self.members,), torch.inf, device=device)
        self._best_parameters = [parameter.detach().clone() for parameter in self.parameters]

    @property
    def auxiliary_parameters(self) -> list[nn.Parameter]:
        """What is trained besides the network, and dropped at the end."""
        return [] if self._dynamics is None else list(self._dynamics.parameters())

    def go_by_predictions(self, generator: torch.Generator) -> None:
        """From now on, use what the members predict: as labels of their own, and against labels that they doubt."""
        if self.config.pseudo_labels and len(self._unlabelled) > 1:
            with torch.inference_mode():
                chunks = self._unlabelled.split(max(1, _CHUNK // self.segment_length))
                returns = torch.cat([self.rewards(some).sum(dim=2) for some in chunks], dim=1)
            # Tensors of inference mode may not take part in a backward pass.
            pseudo_labels = PseudoLabels(
                returns.clone(), self._unlabelled, self.config.pseudo_labels, self.objective, generator
            )
            self._pseudo_labels = pseudo_labels if len(pseudo_labels) else None
        if self.config.small_loss:
            for term, predicted in zip(self._terms, self.predictions(), strict=True):
                term.doubt(predicted, self.config.small_loss)

    def rewards(self, segments: Tensor, steps: Tensor | slice = _EVERY_STEP) -> Tensor:
        """Each member's rewards of steps of some segments, (K, segments, steps).

        Args:
            segments: (segments,), their rows; or (segments, 1) beside (segments, steps).
            steps: which of each segment, one after another.
        """
        inputs, shape = self._inputs(segments, steps)
        rewards: Tensor
        if self._pays_steps:
            rewards = self.network(*inputs).view(self.members, *shape)
        else:
            rewards = inputs[0].new_zeros(self.members, *shape)
        if self._pays_events:
            potential, ending = (each.view(self.members, *shape) for each in self.network.events(inputs[0]))
            absorbing = inputs[0][:, -1].view(shape) != 0 if self._absorbing else None
            rewards = rewards + segment_events(potential, ending, absorbing)
        return rewards

    def _hidden(self, segments: Tensor, steps: Tensor) -> Tensor:
        """Each member's last hidden layer, (K, segments, steps, width); arguments as in `rewards`."""
        inputs, shape = self._inputs(segments, steps)
        return self.network.hidden(*inputs).unflatten(1, shape)

    def _inputs(
        self, segments: Tensor, steps: Tensor | slice
    ) -> tuple[tuple[Tensor, list[Tensor], Tensor], tuple[int, int]]:
        vector = self._vector[segments, steps]
        images = [image[segments, steps].flatten(0, 1) for image in self._images]
        categories = self._categories[segments, steps].flatten(0, 1)
        return (vector.flatten(0, 1), images, categories), (vector.shape[0], vector.shape[1])

    def train_loss(self, labels: Tensor, length: int, generator: torch.Generator) -> Tensor:
        """The loss to minimise: members do not share parameters, so the gradient of their sum trains each by itself.

        Args:
            labels: positions in all labels of all kinds, one kind after another.
            length: of the windows that segments are cut to.
            generator: draws where these begin.
        """
        losses = []
        shorter = length < self.segment_length
        for cropped, chosen in groupby(self._by_kind(labels), lambda part: shorter and part[0].kind.ordinal):
            parts = list(chosen)
            rows = [term.rows(some) for term, some in parts]
            segments = torch.cat(rows)
            if cropped:
                places = windows(len(segments), self.segment_length, length, generator)
                rewards = self.rewards(segments[:, None], places.to(self.device))
            else:
                rewards = self.rewards(segments)
            losses += [
                term.train_losses(term.predict(predicted), some) * term.train_weights[:, some]
                for (term, some), predicted in zip(
                    parts, rewards.split([len(some) for some in rows], dim=1), strict=True
                )
            ]
        loss = torch.cat(losses, dim=1).mean(dim=1).sum()
        if self.config.penalised:
            curves, layers = self.network.penalties()
            loss = loss + self._penalties * (self.config.group_lasso * curves + self.config.ridge * layers)
        if self._pseudo_labels is not None:
            loss = loss + self._pseudo_labels.loss(self.rewards, self.segment_length, length, generator)
        if self._dynamics is not None:
            loss = loss + self.config.dynamics * self._dynamics.loss(self._hidden, generator)
        return loss

    def predictions(self) -> list[Tensor]:
        """What the members predict for all labels of each kind, without gradients."""
        chunk = max(1, _CHUNK // self.segment_length)
        with torch.inference_mode():
            return [
                torch.cat(
                    [
                        term.predict(self.rewards(term.rows(part)))
                        for part in torch.arange(len(term), device=self.device).split(chunk)
                    ],
                    dim=1,
                )
                for term in self._terms
            ]

    def check(self) -> bool:
        """Keep the parameters of members whose held-out loss has fallen; say whether there was one."""
        train, held_out = self._losses(self.predictions())
        current = torch.where(held_out.isnan(), train, held_out)
        better = current < self.best
        self.best = torch.where(better, current, self.best)
        with torch.no_grad():
            for best, parameter in zip(self._best_parameters, self.parameters, strict=True):
                best.view(self.members, -1)[better] = parameter.view(self.members, -1)[better]
        return bool(better.any())

    def restore_best(self) -> None:
        """Put each member's best parameters into the network."""
        with torch.no_grad():
            for best, parameter in zip(self._best_parameters, self.parameters, strict=True):
                parameter.copy_(best)

    def summary(self) -> tuple[float, float, float]:
        """Train loss, held-out loss and held-out accuracy of the network as it is."""
        predictions = self.predictions()
        train, held_out = self._losses(predictions)
        pairs = [
            torch.stack([torch.as_tensor(count, dtype=torch.float64) for count in term.held_out_pairs(predicted)])
            for term, predicted in zip(self._terms, predictions, strict=True)
        ]
        right, decided = torch.stack(pairs).sum(dim=0)
        return float(train.nanmean()), float(held_out.nanmean()), float(right / decided)

    def held_out_losses(self) -> NDArray[np.float64]:
        """The loss on each label that members hold out, their weighted mean, (labels,)."""
        losses, held_out = [], []
        for term, predicted in zip(self._terms, self.predictions(), strict=True):
            losses.append(term.losses(predicted, _EVERY_LABEL))
            held_out.append(term.held_out_weights)
        weights = torch.cat(held_out, dim=1)
        some = weights.sum(dim=0) > 0
        means = (torch.cat(losses, dim=1) * weights).sum(dim=0)[some] / weights.sum(dim=0)[some]
        found: NDArray[np.float64] = means.double().cpu().numpy()
        return found

    def _by_kind(self, labels: Tensor) -> list[tuple[_Term, Tensor]]:
        if len(self._terms) == 1:
            return [(self._terms[0], labels)]
        chosen, start = [], 0
        for term in self._terms:
            inside = labels[(labels >= start) & (labels < start + len(term))]
            if len(inside):
                chosen.append((term, inside - start))
            start += len(term)
        return chosen

    def _losses(self, predictions: list[Tensor]) -> tuple[Tensor, Tensor]:
        losses = torch.cat(
            [term.losses(predicted, _EVERY_LABEL) for term, predicted in zip(self._terms, predictions, strict=True)],
            dim=1,
        )
        train = torch.cat([term.train_weights for term in self._terms], dim=1)
        held_out = torch.cat([term.held_out_weights for term in self._terms], dim=1)
        return _weighted_mean(losses, train), _weighted_mean(losses, held_out)


class _Term:
    """The labels of one kind, and how much each counts in training, and in judging, each member: (K, N)."""

    def __init__(
        self, ensemble: RewardEnsemble, labels: Labels, sample: NDArray[np.float32], label_smoothing: float
    ) -> None:
        self.kind, self.objective = labels.kind, ensemble.objective
        device = ensemble.device
        sampled = torch.from_numpy(sample).to(device)
        counted = torch.from_numpy(labels.weights * np.float32(labels.kind.weight)).to(device)
        self.train_weights = sampled * counted
        self.held_out_weights = (sampled == 0) * counted
        self._undoubted_weights = self.train_weights
        most = int((labels.rows >= 0).sum(axis=1).max())
        rows = torch.from_numpy(labels.rows[:, :most]).to(device)
        # Absent places show the first segment again, and the losses leave them out.
        self._rows = torch.where(rows >= 0, rows, rows[:, :1]).T.contiguous()
        self._batch = LabelBatch(
            rows >= 0,
            torch.from_numpy(labels.targets).to(device),
            torch.from_numpy(labels.temperatures.astype(np.float32)).to(device),
            torch.from_numpy(labels.error_rates.clip(LEAST_ERROR, 1 - LEAST_ERROR).astype(np.float32)).to(device),
        )
        self._train_batch = self._batch
        if label_smoothing and labels.kind.name == Comparison.name:
            smoothed = (1 - label_smoothing) * self._batch.targets + label_smoothing / 2
            self._train_batch = replace(self._batch, targets=smoothed)

    def __len__(self) -> int:
        return self.train_weights.shape[1]

    def rows(self, labels: Tensor) -> Tensor:
        """The segments of some labels: all first ones, and after them all second ones, (places * labels,)."""
        return self._rows[:, labels].reshape(-1)

    def predict(self, rewards: Tensor) -> Tensor:
        """What the members' rewards (K, rows, T) of those segments say, (K, labels, ...)."""
        return self.kind.predict(rewards.unflatten(1, (len(self._rows), -1)))

    def losses(self, predictions: Tensor, labels: Tensor | slice) -> Tensor:
        """The loss of each member on each label, (K, labels)."""
        return self.kind.loss(predictions, self._batch[labels], self.objective)

    def train_losses(self, predictions: Tensor, labels: Tensor) -> Tensor:
        """The same with smoothed targets."""
        return self.kind.loss(predictions, self._train_batch[labels], self.objective)

    def doubt(self, predictions: Tensor, trusted_loss: float) -> None:
        """Let labels count less on which the members that do not train on them have a larger loss than that.

        Args:
            predictions: of all labels.
            trusted_loss: up to which a label counts in full.
        """
        if not self.kind.ordinal:
            return
        held_out = self.held_out_weights > 0
        losses = (self.losses(predictions, _EVERY_LABEL) * held_out).sum(dim=0) / held_out.sum(dim=0)
        trust = torch.where(losses > trusted_loss, trusted_loss / losses, 1.0)
        self.train_weights = self._undoubted_weights * trust

    def held_out_pairs(self, predictions: Tensor) -> tuple[Tensor, Tensor]:
        """See `FeedbackKind.held_out_pairs`."""
        return self.kind.held_out_pairs(predictions, self._batch, self.held_out_weights > 0)


def _joined(steps: Encoded, unlabelled: Encoded) -> Encoded:
    """Labelled segments and, behind them, unlabelled ones."""
    if unlabelled.vector.shape[1:] != steps.vector.shape[1:]:
        raise ValueError(
            f"Unlabelled segments must be like the labelled ones, (T, columns) {steps.vector.shape[1:]}, not "
            f"{unlabelled.vector.shape[1:]}."
        )
    return Encoded(
        np.concatenate([steps.vector, unlabelled.vector]),
        tuple(np.concatenate(both) for both in zip(steps.images, unlabelled.images, strict=True)),
        np.concatenate([steps.categories, unlabelled.categories]),
    )


def _weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    return (losses * weights).sum(dim=1) / weights.sum(dim=1)
