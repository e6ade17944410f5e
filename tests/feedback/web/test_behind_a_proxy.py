"""The pages beneath a path of another server with TLS, and links and QR codes that lead there."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rlhf_envs.feedback import PreferenceStore, Purpose
from rlhf_envs.feedback.web import checked_url
from rlhf_envs.feedback.web.serving import _make_links
from rlhf_envs.feedback.web.tokens import OWNER, qr_rows
from tests.feedback.web.screens import Screen, Served, listens, practised, wait_until

CONFIG = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {folder}/cert.pem;
    ssl_certificate_key {folder}/key.pem;
    location /lab/study/ {{
      proxy_pass http://127.0.0.1:{behind}/;
      proxy_set_header Host $host;
    }}
  }}
}}
"""


@pytest.fixture
def proxied(store: PreferenceStore, tmp_path: Path) -> Iterator[tuple[Served, str]]:
    """A server, and the address beneath which nginx serves it with TLS."""
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if nginx is None or shutil.which("openssl") is None:
        pytest.skip("there is no nginx, or no openssl, on this machine")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    base = f"https://127.0.0.1:{port}/lab/study"
    served = Served(store, tmp_path / "clips", base_url=base)
    folder = tmp_path / "nginx"
    folder.mkdir()
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -keyout key.pem -out cert.pem"
    subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)
    (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, port=port, behind=served.port))
    command = [nginx, "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf", "-p", str(folder)]
    with subprocess.Popen(command) as process:
        try:
            wait_until(lambda: listens(port))
            yield served, base
        finally:
            process.terminate()
            process.wait(20)
            served.stop()


def test_people_answer_and_the_owner_invites_beneath_a_path_with_tls(
    store: PreferenceStore, proxied: tuple[Served, str], make_queries: Any, open_screen: Callable[..., Screen]
) -> None:
    served, base = proxied
    store.ask(make_queries(3))
    practised(store, "ann")
    token = served.tokens.create("ann")
    ann = open_screen(f"{base}/label#token={token}", ignore_https_errors=True)
    ann.press("ArrowLeft", ann.query())
    wait_until(lambda: len(store.live_answers(Purpose.TRAIN)) == 2)
    assert ann.page.evaluate("isSecureContext")
    owner = served.tokens.create(OWNER, OWNER)
    board = open_screen(f"{base}/label#token={owner}", ignore_https_errors=True)  # is sent on to the dashboard
    board.page.locator("#people tr").first.wait_for()
    assert board.page.url.startswith(f"{base}/dashboard#")
    board.page.get_by_label("New annotator").fill("bob")
    board.page.get_by_role("button", name="Make a personal link").click()
    board.page.locator("#ask[open]").wait_for()
    link = board.page.locator("#ask-link").input_value()
    assert link.startswith(f"{base}/label#token=")
    bob = open_screen(link, ignore_https_errors=True)
    bob.page.get_by_role("button", name="Practise first").wait_for()


def test_a_phone_reads_the_link_from_the_dashboard(
    store: PreferenceStore, tmp_path: Path, make_queries: Any, open_screen: Callable[..., Screen]
) -> None:
    store.ask(make_queries(1))
    served = Served(store, tmp_path / "clips", base_url="https://lab.example.org/study")
    try:
        board = open_screen(served.owner_link())
        board.page.locator("#columns").wait_for()
        board.page.get_by_label("New annotator").fill("bob")
        board.page.get_by_role("button", name="Make a personal link").click()
        board.page.locator("#ask[open] #ask-qr svg").wait_for()
        link = board.page.locator("#ask-link").input_value()
        assert link.startswith("https://lab.example.org/study/label#token=")
        squares = "".join(qr_rows(link)).count("1")
        assert board.page.locator("#ask-qr path").get_attribute("d").count("z") == squares
    finally:
        served.stop()


def test_a_qr_code_goes_with_links_that_lead_to_more_than_this_machine(store: PreferenceStore, served: Served) -> None:
    away = _make_links(served.tokens, "https://lab.example.org/study", ["ann", "bob"], [])
    assert away[1].startswith("The personal link of ann: https://lab.example.org/study/label#token=")
    assert sum("▀" in line or "▄" in line for line in away) == 2
    here = _make_links(served.tokens, "http://127.0.0.1:8000", ["cyd"], [])
    assert not any("▀" in line or "▄" in line for line in here)


@pytest.mark.parametrize(
    "url", ["lab.example.org", "ftp://lab.example.org", "https://", "https://lab/?a=1", "https://a/#b"]
)
def test_what_is_no_public_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="A public address looks like https://"):
        checked_url(url)
    assert checked_url("https://lab.example.org/study/") == "https://lab.example.org/study"
