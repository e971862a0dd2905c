"""The error objects of GoForward are literally those of its documentation."""

from __future__ import annotations

import json

import pytest

from protocol.goforward import codes

DOCUMENTED = [
    (
        codes.auth_failed(),
        401,
        {
            "error": "authentication failed",
            "code": "AUTH_FAILED",
            "details": "Invalid or expired token",
        },
    ),
    (
        codes.channel_not_found("chat-room-1"),
        404,
        {"error": "channel chat-room-1 not found", "code": "CHANNEL_NOT_FOUND"},
    ),
    (
        codes.permission_denied("write"),
        403,
        {
            "error": "insufficient permissions",
            "code": "PERMISSION_DENIED",
            "required_permission": "write",
        },
    ),
    (
        codes.rate_limited(30),
        429,
        {"error": "rate limit exceeded", "code": "RATE_LIMIT_EXCEEDED", "retry_after": 30},
    ),
    (
        codes.subscription_failed("Table 'nonexistent' does not exist", is_missing=True),
        404,
        {
            "error": "failed to subscribe to database changes",
            "code": "DB_SUBSCRIPTION_FAILED",
            "details": "Table 'nonexistent' does not exist",
        },
    ),
]


@pytest.mark.capability("GF-129", "GF-130", "GF-131", "GF-132", "GF-133", "GF-134")
@pytest.mark.parametrize(("problem", "status", "body"), DOCUMENTED)
def test_an_error_object_is_literally_the_documented_one(problem, status, body):
    assert problem.status == status
    assert json.loads(problem.body()) == body


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("InvalidJWTToken", "AUTH_FAILED"),
        ("JwtSignatureError", "AUTH_FAILED"),
        ("ChannelPermissionDenied", "PERMISSION_DENIED"),
        ("Unauthorized", "PERMISSION_DENIED"),
        ("permission_denied", "PERMISSION_DENIED"),
        ("rate_limit_exceeded", "RATE_LIMIT_EXCEEDED"),
        ("ConnectionRateLimitReached", "RATE_LIMIT_EXCEEDED"),
        ("ChannelNotFound", "CHANNEL_NOT_FOUND"),
        ("ChannelFull", "CHANNEL_FULL"),
        ("ChannelLimitReached", "CHANNEL_LIMIT_REACHED"),
        ("payload_size_exceeded", "MESSAGE_TOO_LARGE"),
        ("payload_not_an_object", "INVALID_REQUEST"),
        ("feature_disabled", "FEATURE_DISABLED"),
        ("UnableToSubscribeToPostgres", "DB_SUBSCRIPTION_FAILED"),
        ("channel_busy", "UNAVAILABLE"),
        ("RealtimeRestarting", "UNAVAILABLE"),
    ],
)
def test_a_refusal_of_the_core_is_said_in_the_words_of_the_dialect(code, expected):
    assert codes.problem_of(code, "why", channel="chat").code == expected


def test_a_refusal_keeps_what_the_core_knows():
    limited = codes.problem_of("rate_limit_exceeded", "Too fast", retry_after_s=7)
    denied = codes.problem_of("permission_denied", "No", required_permission="admin")

    assert json.loads(limited.body())["retry_after"] == 7
    assert json.loads(denied.body())["required_permission"] == "admin"
