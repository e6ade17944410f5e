"""The same between SQLite and a PostgreSQL server, in both directions."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlhf_envs.archive import export_store, import_archive
from rlhf_envs.feedback import PreferenceStore
from tests.answers import give_answer
from tests.archive.stores import ask, contents, new_store
from tests.feedback.postgresql import SERVER_VARIABLE, empty_database, programs, running_server


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    if not os.environ.get(SERVER_VARIABLE) and programs() is None:
        pytest.skip("PostgreSQL is not installed")
    with running_server() as url:
        yield url


def test_an_export_comes_back_the_same_by_way_of_postgresql(server: str, source: Path, exported: Path) -> None:
    with empty_database(server) as url:
        import_archive(exported, url)
        assert contents(url) == contents(source)
        assert import_archive(exported, url).known_answers == 7
        with PreferenceStore.open(url) as store:
            assert give_answer(store, 1, "eve", "left") == 8
        export_store(url, exported.parent / "again", clips=False)
    assert import_archive(exported.parent / "again", source).answers == 1


def test_a_postgresql_store_with_queries_of_its_own_gets_the_others(server: str, exported: Path) -> None:
    with empty_database(server) as url:
        with new_store(url) as store:
            ask(store, "0/train/0", 100)
        report = import_archive(exported, url)
        assert (report.queries, report.answers) == (5, 7)
        assert [query[0] for query in contents(url)["queries"]] == [1, 2, 3, 4, 5, 6]
