"""The HTTP interface under generated requests, sensible ones and senseless ones: nothing makes the server fail."""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from rlhf_envs.feedback import PreferenceStore
from rlhf_envs.feedback.web.access import RateLimit
from rlhf_envs.feedback.web.tokens import OWNER
from tests.feedback.web.screens import Served, practised

schemathesis = pytest.importorskip("schemathesis")

_EXAMPLES = 5


@pytest.mark.parametrize("role", ["annotator", "owner", "stranger"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_no_request_makes_the_server_fail(store: PreferenceStore, served: Served, make_queries: Any, role: str) -> None:
    store.ask(make_queries(6))
    practised(store, "ann")
    served.app.state.access._rate = RateLimit(per_second=1e9, burst=1e9)
    token = {
        "annotator": lambda: served.tokens.create("ann"),
        "owner": lambda: served.tokens.create(OWNER, OWNER),
        "stranger": lambda: "no-token-of-anybody",
    }[role]()
    before = {live.id for live in store.live_answers()}
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{served.port}/api/openapi.json")
    schemathesis.checks.load_all_checks()
    chosen = (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
    )
    checks = schemathesis.checks.CHECKS.get_by_names(chosen)
    statuses: dict[str, set[int]] = {}

    def send(case: Any) -> None:
        response = case.call(headers={"Authorization": f"Bearer {token}"})
        statuses.setdefault(case.operation.label, set()).add(response.status_code)
        case.validate_response(response, checks=checks)

    quick = settings(
        max_examples=_EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for found in schema.get_all_operations():
        for mode in schemathesis.GenerationMode:
            try:
                quick(given(case=found.ok().as_strategy(generation_mode=mode))(send))()
            except Unsatisfiable:
                continue  # there is nothing in this operation that could be sent wrongly
    assert len(statuses) >= 10
    if role == "stranger":
        # What cannot be read is refused before anybody looks at who sent it.
        assert all(seen <= {400, 401, 404, 405, 413, 422} for seen in statuses.values()), statuses
        assert {live.id for live in store.live_answers()} == before
    else:
        assert 200 in set().union(*statuses.values())
