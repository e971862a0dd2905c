"""The cases that a test server does not bring about; the others are in `test_replication.py`."""

from __future__ import annotations

import psycopg
import pytest

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


def test_an_error_of_no_known_kind_is_quoted_on_one_line():
    error = psycopg.OperationalError("something\n\todd")

    assert unavailable(error).advice == "Postgres refused; it said: something odd"


def test_a_publication_is_quoted_where_it_must_be():
    assert "PUBLICATION plain FOR" in publication_missing("plain").advice
    assert 'PUBLICATION "it""s" FOR' in publication_missing('it"s').advice
    assert 'PUBLICATION "Mixed" FOR' in publication_missing("Mixed").advice
