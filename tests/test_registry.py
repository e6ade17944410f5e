"""Registries of parts that users can add to: by object, by name, and as "module:Name"."""

import re
import sys
from pathlib import Path

import pytest

from rlhf_envs.registry import Registry, import_object


class Oven:
    """A part that says what it is."""

    heat = "low"


class Gas(Oven):
    heat = "high"


@pytest.fixture
def ovens() -> Registry[Oven]:
    registry: Registry[Oven] = Registry("oven", instances=True)
    registry.register("electric", Oven())
    return registry


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module of the user's own."""
    (tmp_path / "ovens_of_mine.py").write_text(
        "class Wood:\n    heat = 'wild'\n    class Chips:\n        heat = 'mild'\nburning = Wood()\n"
        "class Costly:\n    def __init__(self, price):\n        self.price = price\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ovens_of_mine", raising=False)
    return "ovens_of_mine"


def test_a_registry_is_a_mapping_in_the_order_of_registration(ovens: Registry[Oven]) -> None:
    gas = ovens.register("gas", Gas())
    assert list(ovens) == ["electric", "gas"] and len(ovens) == 2
    assert ovens["gas"] is gas and "gas" in ovens and "coal" not in ovens


def test_an_object_is_what_it_is_and_a_name_stands_for_what_was_registered(ovens: Registry[Oven]) -> None:
    gas = Gas()
    assert ovens.resolve(gas) is gas
    assert ovens.resolve("electric") is ovens.named("electric") is ovens["electric"]


def test_a_module_and_a_name_import_an_object_and_make_one_of_a_class(ovens: Registry[Oven], module: str) -> None:
    assert ovens.resolve(f"{module}:burning") is sys.modules[module].burning
    assert ovens.resolve(f"{module}:Wood").heat == "wild"
    assert ovens.resolve(f"{module}:Wood.Chips").heat == "mild"
    classes: Registry[type] = Registry("class of oven")
    assert classes.resolve(f"{module}:Wood") is sys.modules[module].Wood


def test_a_name_from_a_file_imports_nothing(ovens: Registry[Oven], module: str) -> None:
    with pytest.raises(ValueError, match=f"no oven '{module}:burning'; choose one of electric, or register"):
        ovens.named(f"{module}:burning")
    assert module not in sys.modules


def test_what_is_no_part_is_refused(ovens: Registry[Oven], module: str) -> None:
    typed: Registry[Oven] = Registry("oven", instances=True, type=Oven)
    for give in (lambda part: typed.register("gas", part), typed.resolve):
        for part in (Gas, 7, None):
            with pytest.raises(ValueError, match="is no oven: it must be an instance of Oven"):
                give(part)
        assert isinstance(give(Gas()), Gas)
    with pytest.raises(ValueError, match="'ovens_of_mine:Wood' is no oven: it must be an instance of Oven"):
        typed.resolve(f"{module}:Wood")


@pytest.mark.parametrize("name", ["", "a b", "a:b", " gas", "gas\n"])
def test_names_that_could_not_be_given_on_a_command_line_are_refused(ovens: Registry[Oven], name: str) -> None:
    with pytest.raises(ValueError, match="The name of an oven is not empty and has no white space or colon, unlike"):
        ovens.register(name, Gas())
    assert list(ovens) == ["electric"]


def test_a_name_has_one_part_until_it_is_unregistered(ovens: Registry[Oven]) -> None:
    ovens.register("electric", ovens["electric"])
    with pytest.raises(ValueError, match="There is an oven 'electric' already; unregister it, or use another name"):
        ovens.register("electric", Gas())
    ovens.unregister("electric")
    gas = ovens.register("electric", Gas())
    assert ovens["electric"] is gas
    with pytest.raises(ValueError, match="no oven 'coal'"):
        ovens.unregister("coal")


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("electrik", "There is no oven 'electrik'; did you mean 'electric'?"),
        ("coal", "no oven 'coal'; choose one of electric, or name one of your own as \"module:Name\"."),
        ("", "no oven ''; choose one of electric, or name one of your own as \"module:Name\"."),
        ("nowhere_to_be_found:Oven", "cannot be imported: No module named 'nowhere_to_be_found'. Install it, or put"),
        ("json:Oven", "The module json has no Oven, which 'json:Oven' names as an oven."),
        ("ovens_of_mine:Costly", "The oven 'ovens_of_mine:Costly' must be made without arguments: "),
        (".mine:Oven", "An oven of your own is written as \"module:Name\", not '.mine:Oven'"),
        (":Oven", "An oven of your own is written as \"module:Name\", not ':Oven'"),
        ("json:", "An oven of your own is written as \"module:Name\", not 'json:'"),
    ],
)
def test_what_cannot_be_found_is_named_with_what_would_be_right(
    ovens: Registry[Oven], module: str, wanted: str, sentence: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        ovens.resolve(wanted)


def test_a_module_that_cannot_be_imported_says_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_oven.py").write_text("import no_such_fuel\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="'broken_oven:Oven' cannot be imported: No module named 'no_such_fuel'"):
        import_object("broken_oven:Oven", "oven")
