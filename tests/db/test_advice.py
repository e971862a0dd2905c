"""The cases that a test server does not bring about; the others are in `test_replication.py`."""

from __future__ import annotations

import psycopg
import pytest
import structlog

from actors.db.advice import publication_missing, unavailable


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (
            psycopg.OperationalError("FATAL:  permission denied to start WAL sender"),
            "ALTER ROLE <role> REPLICATION",
        ),
        (
            psycopg.OperationalError("FATAL:  sorry, too many clients already"),
            "max_connections",
        ),
        (
            psycopg.OperationalError('FATAL:  password authentication failed for user "x"'),
            "user and password",
        ),
        (
            psycopg.OperationalError("FATAL:  the database system is starting up"),
            "waiting for it to come back",
        ),
        (psycopg.errors.ConnectionTimeout("connection timeout expired"), "cannot be reached"),
        (
            psycopg.errors.ObjectInUse('replication slot "x" is active for PID 7'),
            "another server",
        ),
        (psycopg.errors.AdminShutdown("terminating connection"), "ended the connection"),
    ],
)
def test_an_error_becomes_what_to_do_about_it(error, advice):
    assert advice in unavailable(error).advice


@pytest.mark.parametrize(
    "url",
    [
        "postgress://user:password@host/name",
        "host=host password=pass word dbname=name",
        "postgres://user:pass%word@host/name",
    ],
)
def test_a_url_that_cannot_be_read_is_not_quoted(url):
    with pytest.raises(psycopg.ProgrammingError) as caught:
        psycopg.conninfo.conninfo_to_dict(url)

    assert unavailable(caught.value).advice.startswith("The database URL cannot be read")
    assert "said" not in unavailable(caught.value).advice


def test_an_error_of_no_known_kind_is_for_the_log_and_not_for_clients():
    error = psycopg.OperationalError("something\n\todd")

    with structlog.testing.capture_logs() as lines:
        advice = unavailable(error).advice

    assert "odd" not in advice
    assert [line["reason"] for line in lines] == ["something odd"]


def test_a_publication_is_quoted_where_it_must_be():
    assert "PUBLICATION plain FOR" in publication_missing("plain").advice
    assert 'PUBLICATION "it""s" FOR' in publication_missing('it"s').advice
    assert 'PUBLICATION "Mixed" FOR' in publication_missing("Mixed").advice
