"""Stock clients whose tokens are exchanged, expire, or are signed with keys of every kind."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.compat.client import KINDS, REALTIME_PY, SUPABASE_JS_V2, running_client
from tests.compat.test_keys import handshake
from tests.support.server import running_server
from tests.support.signing import ec_key, ed_key, key_set, rsa_key
from tests.support.tokens import FAR_FUTURE, mint

GOOD = {"role": "anon", "exp": FAR_FUTURE}
#: Room for a machine that does a lot at once.
SOON_S = 6.0


def mint_short():
    return mint(expires_at=time.time() + SOON_S)  # noqa: TID251  # real clients, real clock


def expect_expelled(client, topic, message):
    """Check that the client was told why, and took its channel for closed."""
    if client.kind == REALTIME_PY:
        # It hands a notice of an error to the callback of the subscription.
        told = client.heard.expect("status", topic=topic, status="CHANNEL_ERROR")["error"]
    else:
        told = client.heard.expect("system", topic=topic, status="error")["message"]
    assert message in told
    client.heard.expect("status", topic=topic, status="CLOSED")


@pytest.mark.slow
def test_a_client_keeps_its_topic_if_it_exchanges_the_token_in_time(
    client, start_client, topic
):
    witness = start_client(SUPABASE_JS_V2)
    client.join(topic)
    witness.join(f"{topic}-witness")
    client.set_auth(mint_short())
    client.set_auth(mint())
    witness.set_auth(mint_short())

    expect_expelled(witness, f"{topic}-witness", "Token has expired")
    witness.set_auth(mint())
    witness.join(topic)
    witness.send(topic, "still there?", {})
    client.heard.expect("broadcast", topic=topic, name="still there?")


@pytest.mark.slow
def test_a_client_whose_token_expires_loses_its_topic_and_not_its_socket(client, topic):
    client.join(topic)
    client.set_auth(mint_short())

    expect_expelled(client, topic, "Token has expired")
    client.set_auth(mint())
    client.join(f"{topic}-after", echo=True)
    client.send(f"{topic}-after", "hello", {})
    client.heard.expect("broadcast", topic=f"{topic}-after", name="hello")


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (mint(expires_at=1), "Token has expired"),
        (mint(secret="x" * 40), ":signature_error"),
        (mint(role=None), "Fields `role` and `exp` are required in JWT"),
        ("nonsense", "The token provided is not a valid JWT"),
    ],
    ids=["expired", "forged", "no role", "malformed"],
)
def test_a_bad_token_closes_the_topic_with_the_reason(client, topic, token, message):
    client.join(topic)

    client.set_auth(token)

    expect_expelled(client, topic, message)


def test_an_opaque_key_changes_nothing(client, topic):
    client.join(topic, echo=True)
    client.set_auth("sb_publishable_123")
    client.send(topic, "still here", {})

    client.heard.expect("broadcast", topic=topic, name="still here")
    assert client.heard.passed_over("system") == []


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


def test_realtime_py_comes_back_with_the_token_it_was_given_meanwhile(server, topic):
    with running_client(REALTIME_PY, server.url, mint()) as client:
        client.join(topic)
        client.set_auth(mint(expires_at=1))
        expect_expelled(client, topic, "Token has expired")
        client.set_auth(mint())

        client.join(topic, echo=True)
        client.send(topic, "back", {})
        client.heard.expect("broadcast", topic=topic, name="back")
