"""Named parts that users add to: annotators, selection rules, objectives, learners and the like, in one shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from inspect import isclass
from typing import Any, Generic, TypeVar

Part = TypeVar("Part")


class Registry(Mapping[str, Part], Generic[Part]):
    """Parts of one kind by name, in the order in which they were registered.

    Args:
        kind: what a part is called in a sentence, such as "selection rule".
        instances: whether a class that is named as "module:Name" stands for an object of it, made without arguments.
        type: what every part must be an instance of.

    Example:
        >>> SELECTION_RULES.register("oldest", choose_oldest)
        >>> SELECTION_RULES.resolve("mypackage.rules:choose_oldest")
    """

    def __init__(self, kind: str, instances: bool = False, type: Any = object) -> None:
        self.kind = kind
        self._instances, self._type = instances, type
        self._parts: dict[str, Part] = {}

    def __getitem__(self, name: str) -> Part:
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def register(self, name: str, part: Part) -> Part:
        """Give a part a name, under which it can be chosen in code and on the command line.

        Raises:
            ValueError: if the name is empty, holds a colon or white space, or is taken by another part; or if the part
                is of the wrong type.
        """
        if not name or ":" in name or name != "".join(name.split()):
            raise ValueError(
                f"The name of {_a(self.kind)} is not empty and has no white space or colon, unlike {name!r}."
            )
        if self._parts.get(name, part) is not part:
            raise ValueError(f"There is {_a(self.kind)} {name!r} already; unregister it, or use another name.")
        self._parts[name] = self._checked(part)
        return part

    def choices(self, *more: str) -> str:
        """What can be chosen, as the help of a command shows it: the names, and further ones, or "module:Name"."""
        return f"{{{','.join([*self._parts, *more])}}}|module:Name"

    def unregister(self, name: str) -> None:
        """Forget a part, so that another one can be registered under its name, as in a notebook that is run again.

        Raises:
            ValueError: if there is no such name.
        """
        self.named(name)
        del self._parts[name]

    def resolve(self, wanted: str | Part) -> Part:
        """The part that is meant: an object as it is, a registered name, or "module:Name", which is imported.

        Raises:
            ValueError: if there is no such name or module, in which case the nearest name is suggested; or if the part
                is of the wrong type.
        """
        if not isinstance(wanted, str):
            return self._checked(wanted)
        if wanted not in self._parts and ":" in wanted:
            found: Any = import_object(wanted, self.kind)
            return self._checked(self._instance(found, wanted) if self._instances and isclass(found) else found, wanted)
        return self._registered(wanted, 'name one of your own as "module:Name"')

    def named(self, name: str) -> Part:
        """The part that is registered under a name. Nothing is imported, so the name may be from a file.

        Raises:
            ValueError: if there is no such name, in which case the nearest one is suggested.
        """
        return self._registered(name, "register one of your own")

    def _checked(self, part: Any, wanted: str = "") -> Part:
        if not isinstance(part, self._type):
            raise ValueError(f"{wanted or part!r} is no {self.kind}: it must be an instance of {self._type.__name__}.")
        checked: Part = part
        return checked

    def _instance(self, made: type[Any], place: str) -> Any:
        try:
            return made()
        except TypeError as error:
            raise ValueError(f"The {self.kind} {place!r} must be made without arguments: {error}.") from error

    def _registered(self, name: str, otherwise: str) -> Part:
        if name in self._parts:
            return self._parts[name]
        near = get_close_matches(name, self._parts, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(self._parts)}, or {otherwise}."
        raise ValueError(f"There is no {self.kind} {name!r}; {hint}")


def import_object(place: str, kind: str) -> Any:
    """What "module:Name" names; `Name` may be dotted.

    Args:
        place: such as "mypackage.rules:choose_oldest".
        kind: what it should be, for the sentence that says why it cannot be imported.

    Raises:
        ValueError: if the module cannot be imported or has nothing of that name.
    """
    module_name, _, name = place.partition(":")
    if not module_name or not name or module_name.startswith("."):
        raise ValueError(f'{_a(kind).capitalize()} of your own is written as "module:Name", not {place!r}.')
    try:
        found: Any = import_module(module_name)
    except ImportError as error:
        raise ValueError(
            f"The module of the {kind} {place!r} cannot be imported: {error}. Install it, or put its folder into the "
            "variable PYTHONPATH."
        ) from error
    for attribute in name.split("."):
        if not hasattr(found, attribute):
            raise ValueError(f"The module {module_name} has no {name}, which {place!r} names as {_a(kind)}.")
        found = getattr(found, attribute)
    return found


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
