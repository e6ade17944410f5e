"""The feed's items: formats, topics and headlines."""

from __future__ import annotations

from typing import NamedTuple

FORMATS = ("teaser", "brief", "long read")
TEASER, BRIEF, LONG_READ = range(len(FORMATS))

PAST = 12
"""How many earlier items are stored and drawn."""


class Topic(NamedTuple):
    """A topic's name, and headlines for each sound format."""

    name: str
    briefs: tuple[str, ...]
    long_reads: tuple[str, ...]


TOPICS = (
    Topic(
        "Science",
        ("A new moon for Saturn", "Bees can count to five", "Warmest March on record"),
        ("How whales name each other", "The ice that remembers", "A clock made of light"),
    ),
    Topic(
        "Sport",
        ("Home side wins at last", "Marathon route changed", "Cup draw: who meets whom"),
        ("The coach who listens", "A season on one knee", "Why rowers never look back"),
    ),
    Topic(
        "Music",
        ("Festival names its stars", "New record out on Friday", "Choir seeks tenors"),
        ("The last cello maker", "A summer of one song", "How a city learned jazz"),
    ),
    Topic(
        "Travel",
        ("Night trains are back", "Three quiet islands", "Old bridge reopens"),
        ("On foot across the Alps", "The harbour at the end", "A year of slow roads"),
    ),
    Topic(
        "Food",
        ("Soup for four in ten minutes", "Plum harvest begins", "Bread prices fall"),
        ("The baker of the north", "What salt has seen", "One recipe, five families"),
    ),
    Topic(
        "Film",
        ("Old cinema saved", "Jury picks a first film", "Tickets from Monday"),
        ("The man who cut the film", "Shot in one long night", "A script found twice"),
    ),
)
MOST_TOPICS = len(TOPICS)

TEASERS = (
    "You WON'T believe this!",
    "Doctors HATE this trick!",
    "Number 7 will SHOCK you!",
    "What she did NEXT...!",
    "This changes EVERYTHING!",
)


def headline(topic: int, form: int, pick: float) -> str:
    """The headline of an item; `pick` in [0, 1) chooses among those there are."""
    choices = (TEASERS, TOPICS[topic].briefs, TOPICS[topic].long_reads)[form]
    return choices[int(pick * len(choices))]
