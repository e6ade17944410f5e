"""What the page and the server send each other."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

QueryId = Annotated[int, Field(ge=1, le=2**31 - 1)]
Seconds = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False, description="Since the epoch.")]
Token = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$", description="Made anew for each submission; repeating it is harmless.")
]
_STRICT = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """Why a request was refused, in a sentence for the person who made it."""

    detail: str


class Me(BaseModel):
    """Who the holder of a link is, and what they are asked to judge."""

    name: str
    role: str
    store: str = Field(description="Names the store, so that answers kept in a browser never reach another one.")
    environment: str
    rubric: str
    reasons: dict[str, str] = Field(description="What can be given as a reason, and how a person reads it.")


class Practice(BaseModel):
    """The known answer to a practice comparison."""

    answer: Literal["left", "right"]
    because: str


class Question(BaseModel):
    """A query as the page shows it."""

    id: int
    kind: str
    clips: list[str] = Field(description="Where the films are, in screen order.")
    steps: int = Field(description="Frames of each film.")
    frames_per_second: float
    practice: Practice | None


class Upcoming(BaseModel):
    """The next queries, the first one now."""

    queries: list[Question]


class Payload(BaseModel):
    """The answer to a ranking or to a rating."""

    model_config = _STRICT
    ranking: list[Annotated[int, Field(ge=0, le=9, strict=True)]] | None = Field(
        default=None, max_length=10, description="Screen positions, the best first; each once."
    )
    ratings: list[Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]] | None = Field(
        default=None, max_length=5000, description="One number per step."
    )


class AnswerGiven(BaseModel):
    """One answer."""

    model_config = _STRICT
    query: Annotated[QueryId, Field(strict=True)]
    token: Token
    choice: Literal["left", "right", "tie", "skip"] | None = None
    payload: Payload | None = None
    reasons: list[Annotated[str, Field(max_length=60)]] = Field(default=[], max_length=20)
    shown_at: Seconds | None = None
    answered_at: Seconds | None = None

    def stored_payload(self) -> dict[str, Any] | None:
        """The payload as the store keeps it."""
        given = {} if self.payload is None else self.payload.model_dump(exclude_none=True)
        return given or None


class Acknowledged(BaseModel):
    """The answer is on the disk."""

    answer: int


class UndoWanted(BaseModel):
    """The latest answer shall be taken back."""

    model_config = _STRICT
    token: Token


class Undone(BaseModel):
    """What was taken back: the query that is open again, or null where there was nothing."""

    query: int | None


class Leaving(BaseModel):
    """The page was closed: others may have what was kept for this annotator."""

    model_config = _STRICT
    keep: list[Annotated[QueryId, Field(strict=True)]] = Field(
        default=[], max_length=1000, description="Queries whose answers are on their way."
    )


class Released(BaseModel):
    """How many queries others may have now."""

    queries: int


class IdleText(BaseModel):
    """What to say while there is nothing to answer."""

    headline: str
    sentence: str


class Progress(BaseModel):
    """How far things are, as an annotator sees it."""

    given: int
    answered: int
    wanted: int = Field(description="What will have been asked in the end, as far as is known.")
    seconds_per_answer: float | None
    training: str = Field(description="What training is doing; empty where no training run asks.")
    idle: IdleText


class OwnerRequests(BaseModel):
    """What the owner wants of the training run."""

    model_config = _STRICT
    paused: Annotated[bool, Field(strict=True)] = False
    stop: Annotated[bool, Field(strict=True)] = False
    extra_comparisons: Annotated[int, Field(ge=0, le=100_000, strict=True)] = 0


class OwnerRequestsChange(BaseModel):
    """What the owner wants otherwise than before; what is left out stays as it is."""

    model_config = _STRICT
    paused: Annotated[bool | None, Field(strict=True)] = None
    stop: Annotated[bool | None, Field(strict=True)] = None
    extra_comparisons: Annotated[int | None, Field(ge=0, le=100_000, strict=True)] = Field(
        default=None, description="Beyond the run's own budget, all in all; sending it twice adds nothing."
    )


class NameGiven(BaseModel):
    """Whose link is wanted."""

    model_config = _STRICT
    name: Annotated[str, Field(min_length=1, max_length=60)]


class Link(BaseModel):
    """A personal link, told once."""

    name: str
    path: str


class AnnotatorFigures(BaseModel):
    """One row of the dashboard's table."""

    name: str
    has_link: bool
    given: int
    skipped: int
    seconds_per_answer: float | None
    left_share: float | None = Field(description="Of the answers that say left or right.")
    agreement: float | None = Field(description="With others, over pairs on which both said left or right.")
    agreement_over: int
    practice_right: int
    practice_given: int
    last_answer_at: float | None


class Dashboard(BaseModel):
    """What the owner sees."""

    environment: str
    answered: int
    asked: int
    skipped: int
    wanted: int = Field(description="What will have been asked in the end, as far as is known.")
    for_training: bool = Field(description="Whether a training run asks; else nobody listens to requests.")
    over: bool = Field(description="Whether nothing more will be asked.")
    annotators: list[AnnotatorFigures]
    training: dict[str, Any] | None
    training_posted_at: float | None
    requests: OwnerRequests
    now: float
