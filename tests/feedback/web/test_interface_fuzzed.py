"""The HTTP interface under generated requests, sensible ones and senseless ones: nothing makes the server fail."""

from pathlib import Path

import pytest

from rlhf_envs.feedback import PreferenceStore
from scripts.benchmarks.attacks import ROLES, send_generated, served
from scripts.benchmarks.labelling import ENVIRONMENT, ask

pytest.importorskip("schemathesis")

_OPERATIONS = 22


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.timeout(3600)
def test_no_request_makes_the_server_fail(tmp_path: Path, role: str, nightly: bool) -> None:
    wanted = 7_000 if nightly else 100
    statuses: dict[tuple[str, int], int] = {}
    with PreferenceStore.create(tmp_path / "feedback.db", ENVIRONMENT) as store:
        ask(store, 6)
        with served(store, tmp_path / "clips") as (port, token):
            before = {live.id for live in store.live_answers()}
            while sum(statuses.values()) < wanted:
                found = send_generated(port, token(role), -(-wanted // _OPERATIONS), seed=sum(statuses.values()))
                assert found.failures == []
                statuses = {key: statuses.get(key, 0) + found.statuses.get(key, 0) for key in statuses | found.statuses}
        answered = {live.id for live in store.live_answers()}
    assert len({operation for operation, _ in statuses}) >= 10
    if role == "stranger":
        # What cannot be read is refused before anybody looks at who sent it.
        assert {status for _, status in statuses} <= {400, 401, 404, 405, 413, 422}
        assert answered == before
    else:
        assert 200 in {status for _, status in statuses}
