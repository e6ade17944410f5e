"""Which comparisons are asked, and asking them: every pair of policies equally often, sides shuffled, nothing twice."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import combinations, count, islice
from typing import Any

from sqlalchemy import select

from agents.judging.arena import Arena
from agents.judging.contenders import Contender
from rlhf_envs.feedback import PreferenceStore, Purpose, Query, StoreMissingError
from rlhf_envs.feedback.schema import queries
from rlhf_envs.segments import Segment


@dataclass(frozen=True, eq=False)
class Match:
    """Two policies that meet from one start.

    Attributes:
        first, second: who, in the order of their keys.
        seed: of the episode that both play.
    """

    first: Contender
    second: Contender
    seed: int

    @property
    def name(self) -> str:
        """Names the match, whatever moment of it is shown."""
        return f"{pair_name(self.first, self.second)}{self.seed}"


def pair_name(first: Contender, second: Contender) -> str:
    """What the keys of all comparisons of two policies begin with."""
    return f"judge/{first.key}/{second.key}/"


def open_judgements(place: str, environment: dict[str, Any]) -> PreferenceStore:
    """The store of judgements, made if there is none.

    Raises:
        ValueError: if it holds clips of another environment or of another length.
        StoreError: if it is damaged, locked, or of a newer version.
    """
    try:
        store = PreferenceStore.open(place)
    except StoreMissingError:
        return PreferenceStore.create(place, environment=environment)
    kept = store.environment
    if dict(kept) == environment:
        return store
    store.close()
    if {**kept, "segment_length": None} == {**environment, "segment_length": None}:
        raise ValueError(
            f"The judgements in {place} are of clips of {kept['segment_length']} steps and not of "
            f"{environment['segment_length']}; leave --clip-seconds as it was, or name another --store."
        )
    raise ValueError(f"The judgements in {place} are of another environment, {kept.get('id')}; name another --store.")


def planned(
    contenders: Sequence[Contender], comparisons: int, asked: Collection[str], first_seed: int
) -> dict[int, list[Match]]:
    """The matches that are missing, by seed.

    Each comparison of a pair is from a start of its own, because two moments of one episode are not independent. All
    pairs meet at the same starts.

    Args:
        contenders: who meets.
        comparisons: how many shall have been asked in all.
        asked: names of the matches that were asked before; they count.
        first_seed: of the starts.

    Raises:
        ValueError: if there are fewer comparisons than pairs.
    """
    pairs = list(combinations(sorted(contenders, key=lambda contender: contender.key), 2))
    if comparisons < len(pairs):
        raise ValueError(
            f"{len(contenders)} policies make {len(pairs)} pairs, so at least {len(pairs)} comparisons are needed to "
            f"see each pair once, not {comparisons}."
        )
    share, rest = divmod(comparisons, len(pairs))
    by_seed: dict[int, list[Match]] = defaultdict(list)
    for number, pair in enumerate(pairs):
        done = sum(name.startswith(pair_name(*pair)) for name in asked)
        matches = (Match(*pair, seed) for seed in count(first_seed))
        missing = max(share + (number < rest) - done, 0)
        for match in islice((match for match in matches if match.name not in asked), missing):
            by_seed[match.seed].append(match)
    return {seed: sorted(by_seed[seed], key=lambda match: _drawn(match.name, "order")) for seed in sorted(by_seed)}


def asked_before(store: PreferenceStore) -> set[str]:
    """The names of the matches that a store holds queries about."""
    wanted = select(queries.c.key).where(queries.c.purpose == Purpose.JUDGE.value)
    keys = store.database.read(lambda connection: list(connection.execute(wanted).scalars()))
    return {key.rpartition("/")[0] for key in keys}


def ask(
    store: PreferenceStore,
    matches: dict[int, list[Match]],
    arena: Arena,
    first_seed: int,
    overlap: int,
    on_start: Callable[[], None],
) -> None:
    """Play the matches and put them into the store as comparisons, start by start; each start whole or not at all.

    Args:
        store: where they go.
        matches: from `planned`.
        arena: where they are played.
        first_seed: of the starts; from one to the next the clips begin at the next of the arena's moments.
        overlap: how many annotators should answer each.
        on_start: called after each start.
    """
    for seed, met in matches.items():
        step = arena.starts[(seed - first_seed) % len(arena.starts)]
        clips: dict[str, Segment] = {}
        for contender in (one for match in met for one in (match.first, match.second)):
            if contender.key not in clips:
                clips[contender.key] = arena.clip(contender.acting(seed), seed, step)
        store.ask([_query(match, step, clips) for match in met], wanted=overlap)
        on_start()


def _query(match: Match, step: int, clips: dict[str, Segment]) -> Query:
    """The comparison. Who is who stands in its context alone, which no screen shows."""
    swapped = _drawn(match.name, "side") % 2 == 1
    left, right = (match.second, match.first) if swapped else (match.first, match.second)
    return Query(
        key=f"{match.name}/{step}",
        round=0,
        segments=(clips[left.key], clips[right.key]),
        purpose=Purpose.JUDGE,
        context={"left": left.key, "right": right.key, "seed": match.seed, "step": step},
    )


def _drawn(name: str, what: str) -> int:
    """A random number that is the same whenever it is drawn, so that a resumed sitting shuffles as the first did."""
    return int.from_bytes(hashlib.blake2b(f"{name}\0{what}".encode(), digest_size=8).digest())
