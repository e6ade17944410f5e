"""Rules that hold for the whole project: who may import whom, what a file looks like, what is shipped."""

import ast
import importlib.metadata
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from configparser import ConfigParser
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from setuptools import Distribution

import rlhf_envs

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "rlhf_envs"

# The layers, lowest first: a package imports only from its own layer and from layers below it.
LAYERS = (
    (
        "rlhf_envs.registry",
        "rlhf_envs.randomness",
        "rlhf_envs.observations",
        "rlhf_envs.files",
        "rlhf_envs.templates",
        "rlhf_envs.terminal",
        "rlhf_envs.json_values",
    ),
    ("rlhf_envs.envs",),
    ("rlhf_envs",),  # the package itself, rlhf_envs/__init__.py, which registers the environments
    (
        "rlhf_envs.segments",
        "rlhf_envs.queries",
        "rlhf_envs.objectives",
        "rlhf_envs.versions",
        "rlhf_envs.recording",
    ),
    ("rlhf_envs.kinds",),
    ("rlhf_envs.rewards",),
    ("rlhf_envs.wrappers",),
    ("rlhf_envs.copies",),
    ("rlhf_envs.environment",),
    ("rlhf_envs.clips", "rlhf_envs.demonstrations"),
    ("rlhf_envs.feedback",),
    ("rlhf_envs.archive",),
    ("rlhf_envs.loop",),
    ("rlhf_envs.sb3",),
    ("rlhf_envs.learners",),
    ("rlhf_envs.runs",),
    ("rlhf_envs.testing",),
    ("rlhf_envs.evaluation",),
    ("rlhf_envs.report",),
    ("rlhf_envs.cli", "rlhf_envs.__main__"),
    ("agents",),
    ("scripts",),
)
LAYER = {package: height for height, packages in enumerate(LAYERS) for package in packages}
LOWEST = 0

LONGEST_LINE = 120
FEWEST_LINES = 80
SMALL_WITH_ONE_IMPORTER = {
    "rlhf_envs.feedback.window.questions.*": "a question screen for each kind of feedback",
    "rlhf_envs.loop.status": "what a run tells its annotators is another idea than the loop",
}
"""Modules of less than `FEWEST_LINES` that one other imports, and why they are not part of it."""

NAMES_THAT_SAY_NOTHING = {"util", "utils", "helper", "helpers", "common", "misc"}
UNPICKLING_MODULES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
# The check that an environment can be pickled has to unpickle it: bytes that it has made itself a line above.
MAY_IMPORT_PICKLE = {"rlhf_envs.testing"}

SHIPPED_FILES = sorted(path for top in ("rlhf_envs", "agents", "scripts") for path in (ROOT / top).rglob("*.py"))
ALL_FILES = SHIPPED_FILES + sorted((ROOT / "tests").rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path) for path in SHIPPED_FILES}


def package_of(module: str) -> str:
    """The package that a module of the project belongs to: rlhf_envs.feedback for rlhf_envs.feedback.store."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "rlhf_envs" else parts[0]


def imported_modules(path: Path) -> Iterator[str]:
    """Every module that a file imports anywhere, also inside functions and for type checking only."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in MODULES else node.module


def settings() -> ConfigParser:
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def distribution_name(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0].lower()


def test_every_module_belongs_to_a_layer() -> None:
    unplaced = sorted(module for module in MODULES if package_of(module) not in LAYER)
    assert not unplaced, f"give these a place in LAYERS (and in docs/architecture.md): {unplaced}"


def test_a_package_imports_only_from_layers_below_it() -> None:
    upward = [
        f"{path.relative_to(ROOT)} imports {imported}"
        for path in SHIPPED_FILES
        for imported in imported_modules(path)
        if LAYER.get(package_of(imported), LOWEST) > LAYER.get(package_of(module_name(path)), LOWEST)
    ]
    assert not upward


def test_a_small_module_that_only_one_other_imports_is_part_of_it_or_says_why_not() -> None:
    importers = defaultdict(set)
    for path in SHIPPED_FILES:
        for imported in imported_modules(path):
            importers[imported].add(module_name(path))
    small = {
        module_name(path)
        for path in SHIPPED_FILES
        if path.name != "__init__.py"
        and len(importers[module_name(path)]) == 1
        and len(path.read_text().splitlines()) < FEWEST_LINES
    }
    assert not [name for name in small if not any(fnmatch(name, known) for known in SMALL_WITH_ONE_IMPORTER)]
    assert not [known for known in SMALL_WITH_ONE_IMPORTER if not any(fnmatch(name, known) for name in small)]


def test_every_name_of_a_file_or_folder_says_what_is_in_it() -> None:
    nameless = [
        str(path.relative_to(ROOT))
        for path in ALL_FILES
        if NAMES_THAT_SAY_NOTHING & set(path.relative_to(ROOT).with_suffix("").parts)
    ]
    assert not nameless


def test_every_module_has_a_docstring() -> None:
    silent = [
        str(path.relative_to(ROOT)) for path in SHIPPED_FILES if ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert not silent


def test_nothing_the_project_reads_is_unpickled() -> None:
    unsafe = []
    for path in SHIPPED_FILES:
        place = str(path.relative_to(ROOT))
        if package_of(module_name(path)) not in MAY_IMPORT_PICKLE:
            roots = {module.partition(".")[0] for module in imported_modules(path)}
            unsafe += [f"{place} imports {name}" for name in sorted(roots & UNPICKLING_MODULES)]
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            if arguments.get("allow_pickle", "False") != "False":
                unsafe.append(f"{place}:{call.lineno} allows numpy to unpickle")
            if ast.unparse(call.func) == "torch.load" and arguments.get("weights_only") != "True":
                unsafe.append(f"{place}:{call.lineno} calls torch.load without weights_only=True")
    assert not unsafe


def test_every_folder_of_the_library_is_a_package() -> None:
    folders = {path.parent for path in LIBRARY.rglob("*.py")}
    assert not [str(folder.relative_to(ROOT)) for folder in sorted(folders) if not (folder / "__init__.py").exists()]


def test_every_data_file_of_the_library_is_in_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    distribution = Distribution()
    distribution.parse_config_files()
    command: Any = distribution.get_command_obj("build_py")
    command.ensure_finalized()
    packed = {ROOT / folder / name for _, folder, _, names in command.data_files for name in names}
    here = {path for path in LIBRARY.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}}
    assert {LIBRARY / "py.typed", LIBRARY / "feedback" / "web" / "static" / "label.js"} <= here
    assert packed == here


def test_scripts_and_style_sheets_keep_to_the_line_length() -> None:
    # The formatter leaves strings and comments as they are.
    files = [path for pattern in ("*.js", "*.css") for path in LIBRARY.rglob(pattern)]
    lines = [(path.name, line) for path in files for line in path.read_text().splitlines()]
    assert files and not [(name, line) for name, line in lines if len(line) > LONGEST_LINE]


def test_version_is_the_same_everywhere() -> None:
    assert settings()["metadata"]["version"] == rlhf_envs.__version__
    assert f"## [{rlhf_envs.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_installed_version_is_this_one() -> None:
    try:
        installed = importlib.metadata.version("rlhf-envs")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("rlhf-envs is not installed: these tests run straight from a checkout")
    assert installed == rlhf_envs.__version__


def test_every_direct_dependency_is_pinned_in_the_constraints() -> None:
    options = settings()
    extras = options["options.extras_require"].values()
    listed = "\n".join([options["options"]["install_requires"], *extras]).splitlines()
    requirements = [line.partition(";")[0].strip() for line in listed if line.strip()]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {distribution_name(line) for line in lines if re.fullmatch(r"[^#\s]+==\S+", line)}
    assert {distribution_name(requirement) for requirement in requirements} <= pinned


def test_the_lock_holds_what_is_pinned_with_hashes_and_names_no_place_of_its_own() -> None:
    text = (ROOT / "requirements.lock").read_text()
    entries = re.findall(
        r"^(\S+?)(?:\[.*\])?==([^\s;]+)[^\n\\]*((?:\\\n    --hash=sha256:[0-9a-f]{64} ?)*)", text, re.MULTILINE
    )
    assert entries and not [name for name, _, hashes in entries if not hashes]
    locked = {(name, version.removesuffix("+cpu")) for name, version, _ in entries}
    pins = re.findall(r"^([^#\s]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    missing = {(name.lower(), version) for name, version in pins} - locked
    assert not missing, f"run make lock: {missing}"
    assert set(re.findall(r"https?://[^\s/]+", text)) == {"https://download.pytorch.org"}
    assert "find-links" not in text


def test_pygame_is_never_installed_beside_pygame_ce() -> None:
    # Both provide `import pygame`, and whichever is installed last overwrites the other's files.
    both = (ROOT / "setup.cfg").read_text() + (ROOT / "constraints.txt").read_text()
    assert not re.search(r"^\s*pygame\s*([<>=!~\[].*)?$", both, flags=re.MULTILINE)


def test_the_preference_model_needs_no_database_server_or_window() -> None:
    heavy = ("sqlalchemy", "fastapi", "pygame", "stable_baselines3", "rlhf_envs.feedback", "rlhf_envs.recording")
    code = f"import sys, rlhf_envs.rewards; print(*(name for name in {heavy} if name in sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_every_page_of_the_documentation_is_in_a_table_of_contents() -> None:
    docs = ROOT / "docs"
    listed = {docs / "index"}
    for page in docs.rglob("*.md"):
        for toctree in re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
            listed |= {page.parent / line for line in toctree.splitlines() if line and not line.startswith(":")}
    files = [path for pattern in ("*.md", "*.ipynb") for path in docs.rglob(pattern)]
    pages = {path.with_suffix("") for path in files if path.parent != docs / "example_dataset"}
    assert pages == listed
