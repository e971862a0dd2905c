"""Stock clients whose keys are signed in every way, exchanged for bad ones, or exchanged by their issuer."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.compat.client import KINDS, running_client
from tests.compat.test_keys import handshake
from tests.support.server import running_server
from tests.support.signing import ec_key, ed_key, key_set, rsa_key
from tests.support.tokens import FAR_FUTURE, mint

GOOD = {"role": "anon", "exp": FAR_FUTURE}


def expect_expelled(client, topic, message):
    """Check that the client was told why, and took its channel for closed."""
    if "system errors" in client.kind.lacks:
        # It hands a notice of an error to the callback of the subscription.
        told = client.heard.expect("status", topic=topic, status="CHANNEL_ERROR")["error"]
    else:
        told = client.heard.expect("system", topic=topic, status="error")["message"]
    assert message in told
    client.heard.expect("status", topic=topic, status="CLOSED")


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (mint(expires_at=1), "Token has expired"),
        (mint(secret="x" * 40), ":signature_error"),
        (mint(role=None), "Fields `role` and `exp` are required in JWT"),
    ],
    ids=["expired", "forged", "no role"],
)
def test_a_bad_token_closes_the_topic_with_the_reason(client, topic, token, message):
    client.join(topic)

    client.set_auth(token)

    expect_expelled(client, topic, message)


def test_row_changes_go_on_under_the_new_token(server, client, topic):
    changes = [{"event": "INSERT", "schema": "public", "table": "messages"}]
    client.join(topic, changes=changes)

    client.set_auth(mint("authenticated"))

    client.heard.expect("system", topic=topic, message="Subscribed to PostgreSQL")
    server.execute(f"insert into messages (sender, body) values ('{topic}', 'hello')")
    while client.heard.expect("change", topic=topic)["new"]["sender"] != topic:
        pass


KEYS = [rsa_key(), ec_key(), ed_key()]


@pytest.fixture(scope="module")
def server_with_keys(tmp_path_factory):
    """A server without any secret."""
    settings = {
        "REALTIME_JWT_SECRET": "",
        "REALTIME_JWT_JWKS": key_set(*KEYS),
        "REALTIME_NO_DATABASE": "true",
    }
    with running_server(tmp_path_factory.mktemp("keys"), settings) as server:
        yield server


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.algorithm)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_keys_of_every_kind_let_stock_clients_in(server_with_keys, topic, kind, key):
    with running_client(kind, server_with_keys.url, key.token(GOOD)) as client:
        client.join(topic, echo=True)
        client.send(topic, "hello", {})

        client.heard.expect("broadcast", topic=topic, name="hello")


def test_a_server_without_a_secret_lets_nobody_in_who_uses_one(server_with_keys):
    for token in (mint(), mint(secret="troupe-development-secret-never-use-it-in-production")):
        assert handshake(f"{server_with_keys.websocket_url}?apikey={token}")["status"] == 401


@contextmanager
def issuer():
    """Publish keys over HTTP, from a thread of its own; yields what is published, and how often it was asked for."""
    published = {"text": key_set(), "asked": threading.Semaphore(0)}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = published["text"].encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            published["asked"].release()

        def log_message(self, *_args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            published["url"] = f"http://127.0.0.1:{server.server_address[1]}/jwks.json"
            yield published
        finally:
            server.shutdown()
            thread.join()


def test_a_running_server_follows_the_keys_of_its_issuer(tmp_path):
    old, new = rsa_key("old"), ec_key("new")
    with issuer() as published:
        published["text"] = key_set(old)
        settings = {
            "REALTIME_JWT_JWKS_URL": published["url"],
            "REALTIME_JWT_JWKS_REFRESH_S": "1",
            "REALTIME_NO_DATABASE": "true",
            "NO_PROXY": "127.0.0.1",
        }
        with running_server(tmp_path, settings) as server:
            address = f"{server.websocket_url}?apikey="
            assert handshake(address + old.token(GOOD)) == {"status": 101}
            assert handshake(address + new.token(GOOD))["status"] == 401
            published["text"] = key_set(new)
            # The first fetch may have begun before; who asks a third time is done with the second.
            while published["asked"].acquire(blocking=False):
                pass
            for _ in range(3):
                assert published["asked"].acquire(timeout=30)

            assert handshake(address + new.token(GOOD)) == {"status": 101}
            assert handshake(address + old.token(GOOD))["status"] == 401
