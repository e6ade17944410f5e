"""The HTTP interface: who gets in, what is refused, and that nothing is lost where the store cannot work."""

import asyncio
import hashlib
import logging
import sqlite3
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from rlhf_envs.feedback import PreferenceStore, Purpose
from rlhf_envs.feedback.web import create_app
from rlhf_envs.feedback.web.access import BURST, LARGEST_BODY, BodyLimit, RateLimit
from rlhf_envs.feedback.web.tokens import OWNER, Tokens
from tests.feedback.web.screens import practised


class Interface:
    """Requests to the application within this process."""

    def __init__(self, store: PreferenceStore, clips: Path) -> None:
        self.app = create_app(store, clip_folder=clips)
        self.tokens = Tokens(store)
        # In a thread of its own, because the browser of other tests keeps a loop running in this one.
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://test")

    def __call__(self, method: str, path: str, token: str | None = None, **options: Any) -> httpx.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self.wait_for(self.client.request(method, path, headers=headers, **options))

    def wait_for(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def close(self) -> None:
        self.wait_for(self.client.aclose())
        self.wait_for(self.loop.shutdown_default_executor())
        self.app.state.service.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(20)
        self.loop.close()


@pytest.fixture
def request_(store: PreferenceStore, tmp_path: Path, make_queries: Any) -> Iterator[Interface]:
    store.ask(make_queries(12))
    practised(store, "ann")
    practised(store, "bob")
    made = Interface(store, tmp_path / "clips")
    yield made
    made.close()


@pytest.fixture
def ann(request_: Interface) -> str:
    return request_.tokens.create("ann")


@pytest.fixture
def owner(request_: Interface) -> str:
    return request_.tokens.create(OWNER, OWNER)


def answer(query: int, **fields: Any) -> dict[str, Any]:
    return {"query": query, "token": f"token-of-{query:06}", "choice": "left"} | fields


ENDPOINTS = [
    ("GET", "/api/me"), ("GET", "/api/queries"), ("GET", "/api/clips/1/0.mp4"), ("POST", "/api/answers"),
    ("POST", "/api/undo"), ("POST", "/api/release"), ("GET", "/api/progress"), ("GET", "/api/dashboard"),
    ("POST", "/api/requests"), ("POST", "/api/annotators"), ("DELETE", "/api/annotators/ann"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_nothing_is_told_and_nothing_taken_without_a_valid_token(
    request_: Interface, store: PreferenceStore, ann: str, method: str, path: str
) -> None:
    before = len(store.live_answers())
    for token in (None, "", "guessed", ann[:-1], hashlib.sha256(ann.encode()).hexdigest()):
        response = request_(method, path, token, json=answer(1) if method == "POST" else None)
        assert response.status_code == 401, token
        assert list(response.json()) == ["detail"]
    assert len(store.live_answers()) == before


def test_owners_and_annotators_each_keep_to_their_own(request_: Interface, ann: str, owner: str) -> None:
    for method, path in ENDPOINTS[7:]:
        assert request_(method, path, ann, json={"name": "eve"} if method == "POST" else None).status_code in (403, 422)
    assert request_("POST", "/api/requests", ann, json={}).status_code == 403
    for method, path in (("GET", "/api/queries"), ("GET", "/api/progress"), ("GET", "/api/clips/1/0.mp4")):
        assert request_(method, path, owner).status_code == 403
    assert request_("POST", "/api/answers", owner, json=answer(1)).status_code == 403
    assert request_("POST", "/api/release", owner, json={}).status_code == 403


def test_a_request_changes_what_it_names_and_leaves_the_others(request_: Interface, owner: str) -> None:
    nothing = {"paused": False, "stop": False, "extra_answers": 0}
    assert request_("POST", "/api/requests", owner, json={}).json() == nothing
    request_("POST", "/api/requests", owner, json={"extra_answers": 30})
    request_("POST", "/api/requests", owner, json={"paused": True})
    after = request_("POST", "/api/requests", owner, json={"stop": True}).json()
    assert after == request_("GET", "/api/dashboard", owner).json()["requests"]
    assert after == {"paused": True, "stop": True, "extra_answers": 30}


def test_only_digests_of_tokens_are_kept_and_none_is_logged(
    request_: Interface, tmp_path: Path, ann: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        request_("GET", "/api/queries", ann)
        request_("POST", "/api/answers", ann, json={"query": "x"})
    assert ann not in caplog.text
    for file in tmp_path.glob("feedback.db*"):
        assert ann.encode() not in file.read_bytes()


def test_a_renewed_or_revoked_token_ends_the_old_one(request_: Interface, ann: str) -> None:
    assert request_("GET", "/api/me", ann).json()["name"] == "ann"
    renewed = request_.tokens.create("ann")
    request_.app.state.tokens.people()  # what happens by itself within five seconds
    assert request_("GET", "/api/me", ann).status_code == 401
    assert request_("GET", "/api/me", renewed).status_code == 200
    assert request_.app.state.tokens.revoke("ann") and not request_.app.state.tokens.revoke("ann")
    assert request_("GET", "/api/me", renewed).status_code == 401


@pytest.mark.parametrize("name", ["", " ", "owner", "a/b", "x" * 65, "tab\there", "null\0"])
def test_a_name_that_cannot_be_used_is_refused_in_a_sentence(request_: Interface, owner: str, name: str) -> None:
    response = request_("POST", "/api/annotators", owner, json={"name": name})
    assert response.status_code in (409, 422)
    with pytest.raises(ValueError, match="name"):
        request_.tokens.create(name)


@pytest.mark.parametrize("name", ["Ann", "\u0430nn", "\u00e1nn", "ANN", "Bob", "b0b"])
def test_a_name_that_looks_like_another_one_is_refused(request_: Interface, ann: str, owner: str, name: str) -> None:
    refused = request_("POST", "/api/annotators", owner, json={"name": name})
    assert refused.status_code == 409, refused.text
    assert request_("POST", "/api/annotators", owner, json={"name": "anne"}).status_code == 200
    assert request_("POST", "/api/annotators", owner, json={"name": "ann"}).status_code == 200


def test_sending_an_answer_again_stores_it_once(request_: Interface, store: PreferenceStore, ann: str) -> None:
    [first, *_] = request_("GET", "/api/queries", ann).json()["queries"]
    before = len(store.live_answers())
    replies = [request_("POST", "/api/answers", ann, json=answer(first["id"])).json() for _ in range(3)]
    assert replies[0] == replies[1] == replies[2]
    assert len(store.live_answers()) == before + 1
    again = answer(first["id"], token="another-token")
    assert request_("POST", "/api/answers", ann, json=again).status_code == 409
    undo = [request_("POST", "/api/undo", ann, json={"token": "undo-token-1"}).json() for _ in range(2)]
    assert undo == [{"query": first["id"]}] * 2
    assert len(store.live_answers()) == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"choice": "LEFT"}, {"choice": None}, {"query": 99}, {"query": 0}, {"query": 2**63}, {"token": ""},
        {"token": "a b c d e f"}, {"reasons": ["no such term"]}, {"reasons": "lane"}, {"answered_at": "now"},
        {"payload": {"ranking": [0, 1]}}, {"payload": {"ratings": [2.0]}, "choice": None}, {"unknown": 1},
        {"answered_at": 1e300}, {"query": True},
    ],
)  # fmt: skip
def test_an_answer_without_sense_is_refused_and_not_stored(
    request_: Interface, store: PreferenceStore, ann: str, wrong: dict[str, Any]
) -> None:
    before = len(store.live_answers())
    response = request_("POST", "/api/answers", ann, json=answer(1) | wrong)
    assert response.status_code in (409, 422)
    assert len(store.live_answers()) == before


def test_rankings_and_ratings_must_fit_what_was_shown(
    request_: Interface, store: PreferenceStore, ann: str, make_queries: Any
) -> None:
    [ranking] = store.ask(make_queries(1, "ranking", 3))
    [rating] = store.ask(make_queries(1, "rating", 1))
    store.assign("ann", [ranking, rating])
    for query, payload in (
        (ranking, {"ranking": [0, 1]}), (ranking, {"ranking": [0, 1, 1]}), (ranking, {"ratings": [0.0] * 6}),
        (rating, {"ratings": [0.5] * 5}), (rating, {"ranking": [0]}), (rating, {}),
    ):  # fmt: skip
        refused = request_("POST", "/api/answers", ann, json=answer(query, choice=None, payload=payload))
        assert refused.status_code == 409, payload
    for query, payload in ((ranking, {"ranking": [2, 0, 1]}), (rating, {"ratings": [0.5, -1, 1, 0, 0, 0.25]})):
        given = answer(query, choice=None, payload=payload)
        assert request_("POST", "/api/answers", ann, json=given).status_code == 200
        assert store.live_answers()[-1].payload == payload


def test_a_page_is_handed_only_queries_of_kinds_that_it_can_show(
    request_: Interface, store: PreferenceStore, ann: str, make_queries: Any
) -> None:
    [ranking] = store.ask(make_queries(1, "ranking", 3))

    def listed(kinds: str) -> list[int]:
        queries = request_("GET", f"/api/queries?theme=light{kinds}", ann).json()["queries"]
        return [query["id"] for query in queries]

    assert listed("&kinds=ranking&kinds=gesture") == [ranking]
    assert ranking not in listed("&kinds=comparison") and listed("&kinds=gesture") == []
    assert len(listed("")) == 4
    assert request_("GET", f"/api/queries?kinds={'x' * 65}", ann).status_code == 422


def test_a_query_for_somebody_else_can_be_neither_seen_nor_answered(
    request_: Interface, store: PreferenceStore, ann: str, make_queries: Any
) -> None:
    theirs = next(query.id for query in store.queries() if query.only_for == "bob")
    [judging] = store.ask(make_queries(1, purpose=Purpose.JUDGE))
    for query in (theirs, judging):
        assert request_("POST", "/api/answers", ann, json=answer(query or 0)).status_code == 409
        assert request_("GET", f"/api/clips/{query}/0.mp4", ann).status_code == 404


def test_a_query_of_the_queue_is_answered_by_those_alone_who_were_asked_it(
    request_: Interface, store: PreferenceStore, ann: str, make_queries: Any
) -> None:
    asked = [query.id or 0 for query in store.queries(purpose=Purpose.TRAIN) if query.only_for is None]
    asked += store.ask(make_queries(60, "rating", 1))
    before = len(store.live_answers())
    for query in asked:
        refused = request_("POST", "/api/answers", ann, json=answer(query, choice="skip"))
        assert refused.status_code == 409 and f"was not asked query {query}" in refused.json()["detail"]
    taken = [query["id"] for query in request_("GET", "/api/queries", ann).json()["queries"]]
    request_("POST", "/api/release", ann, json={"keep": []})
    for query in taken:
        assert request_("POST", "/api/answers", ann, json=answer(query, choice="skip")).status_code == 200
    assert [live.query_id for live in store.live_answers()[before:]] == taken


def test_a_clip_is_for_those_who_were_given_its_query_and_is_made_once(
    request_: Interface, ann: str, tmp_path: Path
) -> None:
    bob = request_.tokens.create("bob")
    [first, *_] = request_("GET", "/api/queries", ann).json()["queries"]
    films = [request_("GET", first["clips"][0], ann) for _ in range(2)]
    assert films[0].status_code == 200 and films[0].headers["content-type"] == "video/mp4"
    assert films[0].content == films[1].content and films[0].content[4:8] == b"ftyp"
    assert request_("GET", first["clips"][0], bob).status_code == 404
    assert request_("GET", f"/api/clips/{first['id']}/2.mp4", ann).status_code == 404
    assert request_("GET", f"{first['clips'][0]}?theme=dark", ann).content != films[0].content
    assert request_("GET", f"{first['clips'][0]}?theme=pink", ann).status_code == 422
    assert not list((tmp_path / "clips").glob("*.part"))
    request_("POST", "/api/answers", ann, json=answer(first["id"]))
    assert request_("GET", first["clips"][0], ann).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/../tokens.py", "/static/%2e%2e/tokens.py", "/static/..%2ftokens.py", "/static//etc/passwd",
        "/api/clips/1/../../../feedback.db", "/api/clips/1/..%2f..%2ffeedback.db.mp4", "/clips/x.mp4", "/feedback.db",
        "/static/%2fetc%2fpasswd", "/static/label.html%00.js", "/api/clips/1/%2e%2e.mp4",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_what_is_served(request_: Interface, ann: str, path: str) -> None:
    response = request_("GET", path, ann)
    assert response.status_code in (401, 404, 405, 422)
    assert b"SQLite" not in response.content and b"secrets" not in response.content


def test_a_body_that_is_too_large_is_refused_however_it_comes(request_: Interface, ann: str) -> None:
    async def in_pieces() -> Any:
        for _ in range(LARGEST_BODY // 1000 + 2):
            yield b"x" * 1000

    assert request_("POST", "/api/answers", ann, content=b"x" * (LARGEST_BODY + 1)).status_code == 413
    assert request_("POST", "/api/answers", ann, content=in_pieces()).status_code == 413
    assert request_("POST", "/api/answers", ann, content=b"x" * 1000).status_code == 422


def test_a_body_that_does_not_come_is_not_waited_for_endlessly() -> None:
    sent: list[Any] = []

    async def silent() -> Any:
        await asyncio.sleep(60)

    async def keep(message: Any) -> None:
        sent.append(message)

    async def never(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("half a request was taken")

    request = BodyLimit(never, seconds=0.05)({"type": "http", "method": "POST"}, silent, keep)
    with ThreadPoolExecutor(1) as elsewhere:  # the browser of other tests keeps an event loop in this thread
        elsewhere.submit(asyncio.run, request).result()
    assert sent[0]["status"] == 408
    assert b"too long" in sent[1]["body"]


@pytest.mark.parametrize(
    "content",
    [
        b'{"query": 1e999}',
        b'{"query": NaN, "token": "aaaaaaaa"}',
        b'{"query": 1, "token": "aaaaaaaa", "choice": "left", "shown_at": -Infinity}',
        b'{"query": 1, "token": "aaaaaaaa", "choice": "left", "reasons": ["\\ud800"], "\\ud800": 1}',
        b'{"query": 1, "token": "aaaaaaaa", "choice": "\xed\xa0\x80"}',
    ],
)
def test_what_json_has_no_words_for_is_refused_and_makes_nothing_fail(
    request_: Interface, ann: str, content: bytes
) -> None:
    headers = {"Authorization": f"Bearer {ann}", "Content-Type": "application/json"}
    response = request_.wait_for(request_.client.post("/api/answers", content=content, headers=headers))
    assert response.status_code == 422 and response.json()["detail"]


def test_who_asks_too_often_is_told_to_wait_and_others_are_not(request_: Interface, ann: str) -> None:
    request_.app.state.access._rate = RateLimit(clock=lambda: 0.0)
    statuses = [request_("GET", "/api/me", ann).status_code for _ in range(int(BURST) + 1)]
    assert statuses[:-1] == [200] * int(BURST) and statuses[-1] == 429
    assert int(request_("GET", "/api/me", ann).headers["retry-after"]) >= 1
    # Made where requests are let in, so that it is known at once.
    bob = request_.app.state.access._tokens.create("bob")
    assert request_("GET", "/api/me", bob).status_code == 200


def test_a_bucket_refills_steadily() -> None:
    now = [0.0]
    rate = RateLimit(per_second=2.0, burst=3.0, clock=lambda: now[0])
    assert [rate.wait_for("ann") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    now[0] = 0.5
    assert [rate.wait_for("ann") for _ in range(2)] == [0.0, 0.5]
    now[0] = 100.0
    assert [rate.wait_for("ann") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


@pytest.mark.parametrize("path", ["/", "/label", "/dashboard", "/palette.css", "/static/label.js"])
def test_pages_can_be_asked_for_their_head_alone(request_: Interface, path: str) -> None:
    head, page = request_("HEAD", path), request_("GET", path)
    assert (head.status_code, page.status_code, head.content) == (200, 200, b"")
    assert head.headers["content-length"] == page.headers["content-length"] == str(len(page.content))


def test_every_response_forbids_what_the_page_does_not_need(request_: Interface, ann: str) -> None:
    for path in ("/label", "/dashboard", "/static/label.js", "/palette.css", "/api/me", "/nowhere"):
        headers = request_("GET", path, ann).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    for page in ("/label", "/dashboard"):
        assert "http" not in request_("GET", page).text.replace("http-equiv", "")


def test_a_locked_store_is_told_as_such_and_the_answer_goes_through_later(
    store: PreferenceStore, tmp_path: Path, make_queries: Any
) -> None:
    store.ask(make_queries(2))
    practised(store, "ann")
    with PreferenceStore.open(tmp_path / "feedback.db", patience=0.1) as impatient:
        request_ = Interface(impatient, tmp_path / "clips")
        ann = request_.tokens.create("ann")
        assert request_("GET", "/api/queries", ann).status_code == 200
        holder = sqlite3.connect(tmp_path / "feedback.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        refused = request_("POST", "/api/answers", ann, json=answer(1))
        assert refused.status_code == 503 and "locked" in refused.json()["detail"]
        assert str(tmp_path) not in refused.text
        assert int(refused.headers["retry-after"]) > 0
        holder.execute("ROLLBACK")
        holder.close()
        assert request_("POST", "/api/answers", ann, json=answer(1)).status_code == 200
        request_.close()
    assert [live.query_id for live in store.live_answers(Purpose.TRAIN)] == [3, 1]


def test_a_leaked_link_answers_no_faster_than_a_person_for_long(
    store: PreferenceStore, tmp_path: Path, make_queries: Any
) -> None:
    store.ask(make_queries(100))
    practised(store, "ann")
    practised(store, "bob")
    made = Interface(store, tmp_path / "clips")
    try:
        token, statuses = made.tokens.create("ann"), []
        for _ in range(30):
            listed = made("GET", "/api/queries", token).json()["queries"]
            for query in listed:
                answered = made("POST", "/api/answers", token, json=answer(query["id"]))
                statuses.append(answered.status_code)
        assert statuses.count(200) in range(60, 70) and set(statuses) == {200, 429}
        assert "faster than anybody can look at clips" in answered.json()["detail"]
        assert int(answered.headers["Retry-After"]) >= 1
        bob = made.tokens.create("bob")
        asked = made("GET", "/api/queries", bob)
        assert asked.status_code == 200, asked.text
        [query, *_] = asked.json()["queries"]
        assert made("POST", "/api/answers", bob, json=answer(query["id"])).status_code == 200
    finally:
        made.close()
