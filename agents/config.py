"""Everything that defines a training run, in one typed value; it is what config.json holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any, Literal, get_args

import tyro

from agents.presets import (
    TIMESTEPS,
    SettingsSource,
    ensemble_for,
    feedback_for,
    kl_coef_for,
    preset_for,
    settings_for,
    timesteps_for,
)
from agents.tracking import Tracker
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.feedback import ANNOTATORS, Annotator, ScriptedTeacher, TeacherConfig, make_annotator
from rlhf_envs.feedback.web import checked_url
from rlhf_envs.json_values import check_sizes, settings_from_json, settings_to_json
from rlhf_envs.learners import LEARNERS, find_learner
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.rewards import EnsembleConfig, FitConfig
from rlhf_envs.runs import RunDirectory, load_critic
from rlhf_envs.sb3.kl import check_penalty

_NO_FLAG = tyro.constructors.PrimitiveConstructorSpec(
    nargs=1,
    metavar="",
    instance_from_str=lambda words: None,
    is_instance=lambda value: value is None or isinstance(value, EnvironmentRef),
    str_from_instance=lambda value: [""],
)
"""The command line names the environment by `EnvironmentFlags`."""

Reward = Literal["learned", "true", "proxy"]
ASK_PEOPLE = ("window", "web", "elsewhere")
"""The kinds of feedback that people give: in a window or on a web page that the run opens, or wherever the store is
served by `rlhf-envs label`."""


@dataclass(frozen=True)
class TeacherChanges:
    """Changes to the scripted teacher that `feedback` names; what is None stays as it is there.

    `TeacherConfig` says exactly what each does.

    Attributes:
        beta: rationality of its choices: inf always prefers the higher return, 0 tosses a coin.
        gamma: weight of each step relative to the next; below 1 the teacher judges by how a segment ends.
        mistake: probability that an answer is given the wrong way round, from 0 to 1.
        skip: how good the better segment must be to be judged at all, as a share of an average stretch; 0 skips none.
        equal: how far apart two returns must lie not to be called a tie, as a share of an average stretch.
        critic: the folder of a finished run of the same environment with --reward true, by whose critic the teachers
            "regret" and "value" judge.
    """

    beta: float | None = None
    gamma: float | None = None
    mistake: float | None = None
    skip: float | None = None
    equal: float | None = None
    critic: str | None = None


@dataclass(frozen=True)
class PageOptions:
    """Where the web page of a run is, with `--feedback web`.

    Attributes:
        host: where it can be reached from; the default is this machine alone.
        port: of the page; None for 8000, or any free one where another program has that.
        url: where people reach the page if it stands behind a proxy, such as https://lab.example.org/study.
        annotators: who gets a personal link; one for the name of your account where none are given.

    Raises:
        ValueError: if the port is out of range, or the address is none.
    """

    host: str = "127.0.0.1"
    port: int | None = None
    url: str = ""
    annotators: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.port is not None and not 0 <= self.port <= 65535:
            raise ValueError(f"A port is a number from 0 to 65535, not {self.port}.")
        checked_url(self.url)


@dataclass(frozen=True)
class RunOptions:
    """How a run is carried out.

    Attributes:
        pretrain: episodes of demonstrations that the policy imitates first; 0 starts from scratch. A scripted expert
            takes a random action at a tenth of their steps, see `from_expert`.
        kl_coef: what each step costs for every nat of KL divergence of the policy from the pretrained one, in units of
            the reward; 0 lets it go where it wants.
        kl_target: nats per step that kl_coef is adapted to, up and down from where it starts; None keeps it fixed.
        demonstrations: where demonstrations come from: "expert" for the environment's scripted one, a file of recorded
            ones, or "minari:ID" for a Minari dataset.
        patience: stop training once the label budget is spent and the learned return has not risen for this many
            rollouts, or as many times `visit_every` steps where rollouts are shorter; None trains for all timesteps.
        fresh_policy: whether a second policy is trained from scratch on the final reward; the better of the two is
            kept (`judging_share`). "auto": after 20,000 steps or more, if the algorithm is on-policy (such as PPO) and
            not pretrained, or if what the policy does is rated less than 0.3 standard deviations better than the clips
            that were asked about. "always": after any training. "never": after none. None follows where nothing was
            asked, or where --on-alarm stop has ended the training.
        judging_share: which share of the answers, from 0 to below 1, is kept to choose between the two policies, where
            a second one is expected: clips of both from equal starts are compared, the reward learns from the answers,
            and the policy that then earns more by it is kept, or the one that is clearly preferred. They are asked also
            where `target_accuracy` has ended other questions. Shares of fewer than four comparisons are not kept.
        evaluation_episodes: episodes on fresh seeds that the final policy is evaluated in.
        processes: whether third-party copies run in processes of their own; None does so where their steps are slow,
            there are several cores, and their states cannot be recorded anyway.
        checkpoint_seconds: at least this time lies between two checkpoints.
        threads: threads of PyTorch; small networks run fastest on one.
        device: where policy and reward model compute: "cpu", "cuda", or "auto" for a GPU where there is one. Networks
            as small as the usual ones run fastest on the CPU.
        tracker: where the run's curves are shown besides TensorBoard: "wandb" (Weights & Biases), "trackio", or "none".
        tracker_project: in which project.

    Raises:
        ValueError: if a value is out of range.
    """

    pretrain: int = 0
    kl_coef: float = 0.0
    kl_target: float | None = None
    demonstrations: str = "expert"
    patience: int | None = None
    fresh_policy: Literal["auto", "always", "never"] = "auto"
    judging_share: float = 0.1
    evaluation_episodes: int = 100
    processes: bool | None = None
    checkpoint_seconds: float = 15.0
    threads: int = 1
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    tracker: Tracker = "none"
    tracker_project: str = "rlhf-envs"

    def __post_init__(self) -> None:
        for name, least in (("pretrain", 0), ("evaluation_episodes", 1), ("threads", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}.")
        if self.kl_coef or self.kl_target is not None:
            check_penalty(self.kl_coef, self.kl_target)
        if not 0 <= self.judging_share < 1:
            raise ValueError(f"judging_share is a share from 0 to below 1, not {self.judging_share}.")
        if not self.checkpoint_seconds >= 0:
            raise ValueError(f"checkpoint_seconds must be 0 or more, not {self.checkpoint_seconds}.")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience is a number of rollouts of at least 1, not {self.patience}.")


@dataclass(frozen=True)
class RunConfig:
    """One training run.

    Attributes:
        environment: where the policy is trained; None to learn only the reward of answers that are there.
        reward: what the policy is trained on: "learned" from preferences; or, as baselines, the "true" reward or the
            "proxy" that a hasty engineer would have coded.
        feedback: who answers: a scripted teacher by name, an annotator of your own as "module:Name", or people: in a
            "window" that opens, on a "web" page that is served as long as training goes on, or "elsewhere", by
            `rlhf-envs label` on this or another machine. For a port or host of your own use "elsewhere", and
            `rlhf-envs label --feedback web`.
        timesteps: environment steps of the training, over all copies.
        seed: seed of everything that is random.
        labels: how much is asked, when, and what.
        teacher: changes to the scripted teacher that `feedback` names.
        store: where queries and answers meet: the SQLAlchemy URL of a PostgreSQL database of its own, for annotators on
            several machines; the file feedback.db in the run's folder where None. Give no password here, as the
            configuration is stored: PostgreSQL reads it from ~/.pgpass or PGPASSWORD.
        offline: learn from answers that were given before, and ask nothing: an exported folder (rlhf-envs archive makes
            them), the folder of another run, or a store by its path or URL. Without an environment only the reward is
            learned.
        reward_model: begin with a reward model that was learned before: the folder of a finished run, or a file.
            Nothing is asked unless `answers` is given; then the answers of that run, which must be about the same
            environment or a variant of it (other `env_kwargs`), are learned from as well.
        ensemble: the reward model.
        fit: how the reward model is fitted to the answers.
        learner: the algorithm that trains the policy, by its name, or one of your own as "module:Name".
        settings: where settings of the learner come from that are not given: "auto" takes ours where there are any for
            the environment, or else those that rl-zoo3 has tuned for it, or else general ones; "zoo" takes those of
            rl-zoo3, and "defaults" those of Stable-Baselines3.
        learner_settings: settings of the learner, under the names of Stable-Baselines3; by default those that
            `settings` chooses.
        run: how the run is carried out.
        page: where the web page is, if people answer on it.

    Raises:
        ValueError: if a value is out of range, or the learner or its settings are of the wrong kind.
    """

    environment: tyro.conf.Suppress[Annotated[EnvironmentRef | None, _NO_FLAG]] = None
    reward: Reward = "learned"
    feedback: Annotated[str, tyro.conf.arg(metavar=ANNOTATORS.choices(*ASK_PEOPLE))] = "oracle"
    timesteps: int = TIMESTEPS
    seed: int = 0
    labels: Annotated[tyro.conf.OmitArgPrefixes[FeedbackConfig], tyro.conf.arg(name="feedback")] = field(
        default_factory=FeedbackConfig
    )
    teacher: TeacherChanges = field(default_factory=TeacherChanges)
    store: str | None = None
    offline: str | None = None
    reward_model: str | None = None
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    learner: Annotated[str, tyro.conf.arg(metavar=LEARNERS.choices())] = "ppo"
    settings: SettingsSource = "auto"
    learner_settings: Annotated[Any, tyro.conf.arg(name="learner")] = None
    run: tyro.conf.OmitArgPrefixes[RunOptions] = field(default_factory=RunOptions)
    page: PageOptions = field(default_factory=PageOptions)

    def __post_init__(self) -> None:
        if self.reward not in get_args(Reward):
            raise ValueError(f"reward must be one of {', '.join(get_args(Reward))}, not {self.reward!r}.")
        if self.timesteps < 1 or self.seed < 0:
            raise ValueError(
                f"timesteps must be at least 1, and seed at least 0, not {self.timesteps} and {self.seed}."
            )
        if self.environment is not None:
            self.environment.to_json()
        settings_class = find_learner(self.learner).settings_class
        if self.learner_settings is None:
            object.__setattr__(self, "learner_settings", settings_for(self.environment, self.learner, self.settings))
        if not isinstance(self.learner_settings, settings_class):
            raise ValueError(
                f"The settings of the learner {self.learner} must be a {settings_class.__name__}, not "
                f"{self.learner_settings!r}."
            )
        if self.labels.answers == 0 and self.reward == "learned" and self.offline is None and not self.reward_model:
            raise ValueError(
                "answers must be at least 1, not 0, where there is no --reward-model: there would be nothing to learn "
                "a reward from."
            )
        _ = self.teacher_config  # refuses what cannot be

    @classmethod
    def for_environment(
        cls, environment: EnvironmentRef | None, learner: str = "ppo", settings: SettingsSource = "auto"
    ) -> RunConfig:
        """The settings before any is chosen: the environment's preset."""
        return cls(
            environment,
            learner=learner,
            settings=settings,
            labels=feedback_for(environment),
            ensemble=ensemble_for(environment),
            timesteps=timesteps_for(environment),
            run=RunOptions(kl_coef=kl_coef_for(environment, learner, settings)),
        )

    def about_settings(self) -> str:
        """Where the settings of the learner come from, in one line."""
        preset = preset_for(self.environment, self.learner, self.settings)
        changed = [
            part.name
            for part in fields(preset.settings)
            if getattr(self.learner_settings, part.name) != getattr(preset.settings, part.name)
        ]
        return f"{preset.about} Changed: {', '.join(changed)}." if changed else preset.about

    def settled(self) -> RunConfig:
        """These settings with the length of segments that fits the environment, if one is named.

        Raises:
            ValueError: if there is no such environment, or its horizon is not known.
        """
        if self.environment is None or self.labels.segment_length is not None:
            return self
        return replace(self, labels=self.labels.for_environment(self.environment))

    @property
    def required_environment(self) -> EnvironmentRef:
        """The environment.

        Raises:
            ValueError: if there is none.
        """
        if self.environment is None:
            raise ValueError("Say which environment to train on, such as --env rlhf/Driving-v1.")
        return self.environment

    @property
    def asks_people(self) -> bool:
        """Whether the answers come from people."""
        return self.reward == "learned" and self.offline is None and self.feedback in ASK_PEOPLE

    @property
    def needs_pictures(self) -> bool:
        """Whether annotators may look at segments, as people do and functions of two clips can."""
        return self.reward == "learned" and self.offline is None and self.teacher_config is None

    @property
    def teacher_config(self) -> TeacherConfig | None:
        """The scripted teacher with its changes; None where another annotator or people answer.

        Raises:
            ValueError: if there is no such annotator, or a teacher is changed although none answers.
        """
        changes = {name: value for name, value in asdict(self.teacher).items() if value is not None}
        found = None if self.feedback in ASK_PEOPLE else ANNOTATORS.resolve(self.feedback)
        if isinstance(found, TeacherConfig):
            judges_by_critic, has_critic = found.judged_by != "return", self.teacher.critic is not None
            if judges_by_critic and not has_critic:
                raise ValueError(
                    f"--feedback {self.feedback} judges by a critic; name the folder of a finished run of the same "
                    "environment with --reward true: --teacher.critic RUN_DIR."
                )
            if has_critic and not judges_by_critic:
                raise ValueError(
                    f"--feedback {self.feedback} judges by no critic; leave --teacher.critic out, or say "
                    "--feedback regret or value."
                )
            return replace(found, seed=self.seed, **changes)
        if changes:
            raise ValueError(
                f"--teacher changes a scripted teacher, but with --feedback {self.feedback} none answers; leave one of "
                "them out."
            )
        return None

    def annotator(self) -> Annotator | None:
        """The annotator that answers; None where people do.

        Raises:
            ValueError: if there is no such critic as a teacher judges by.
        """
        teacher = self.teacher_config
        if teacher is not None:
            critic = None if teacher.judged_by == "return" else load_critic(teacher.critic, self.required_environment)
            return ScriptedTeacher(teacher, self.feedback, critic)
        return None if self.feedback in ASK_PEOPLE else make_annotator(self.feedback)

    def to_json(self) -> dict[str, Any]:
        """As values of strict JSON; `from_json` is the inverse. An infinite number is written as the text "inf"."""
        return settings_to_json(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunConfig:
        """Read what `to_json` gave.

        Raises:
            ValueError: if a value is unknown, of another type, or out of range.
        """
        config = dict(values)
        if isinstance(config.get("learner"), str) and config.get("learner_settings") is not None:
            settings_class = find_learner(config["learner"]).settings_class
            config["learner_settings"] = settings_from_json(
                settings_class, config["learner_settings"], "learner_settings"
            )
        read = settings_from_json(cls, config)
        check_sizes(read)
        return read


_CHANGEABLE = (
    *(f"page.{name}" for name in ("host", "port", "url", "annotators")),
    *("timesteps", "judging_share", "evaluation_episodes", "checkpoint_seconds", "threads", "device"),
    *("tracker", "tracker_project"),
)
"""The flags of a run that may be changed while it lasts, as they say how long and by what means, and not what it is."""


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The settings of a run, as JSON values, by their flags; those of a group as "group.name"."""
    groups = {"environment": "", "labels": "", "run": "", "learner_settings": "learner."}
    flags = {"id": "env", "kwargs": "env_kwargs", "wrappers": "wrapper"}
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and name not in ("kwargs", "kinds"):
            flat |= flat_settings(value, groups.get(name, f"{name}."))
        else:
            flat[prefix + flags.get(name, name)] = value
    return flat


def refused_change(before: Mapping[str, Any], now: Mapping[str, Any], trained: int) -> str | None:
    """A change of settings that a run which has begun cannot take, in words: "answers = 8, not 9".

    It may train for more steps, keep another share of the answers for the choice between policies, evaluate in another
    number of episodes, save more or less often, compute by other means, and if people answer, show its queries to them
    elsewhere.

    Args:
        before, now: all settings, as JSON values.
        trained: timesteps that the run has trained for.

    Returns:
        None where all changes can be taken.
    """
    was, asked = flat_settings(before), flat_settings(now)
    for name in was | asked:
        old, new = was.get(name), asked.get(name)
        elsewhere = name == "feedback" and old in ASK_PEOPLE and new in ASK_PEOPLE
        too_few = name == "timesteps" and not (isinstance(new, int) and new >= trained)
        if old != new and not elsewhere and (name not in _CHANGEABLE or too_few):
            return f"{name} = {old}, not {new}"
    return None


def read_config(directory: RunDirectory) -> RunConfig:
    """The configuration that a run was started with.

    Raises:
        ValueError: if there is no run, or its configuration is damaged.
    """
    values = directory.read_config()
    try:
        return RunConfig.from_json(values)
    except ValueError as error:
        raise ValueError(
            f"{directory.config_path} is damaged, or from another version: {str(error).rstrip('.')}."
        ) from error
