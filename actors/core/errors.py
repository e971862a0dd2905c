"""What an actor can tell those who talk to it."""

from __future__ import annotations


class ActorError(Exception):
    """Base of everything below; never raised itself."""


class ActorStopped(ActorError):
    """The target is gone for good."""


class ActorCrashed(ActorError):
    """The target failed while it held your question."""


class AskTimeout(ActorError):
    """No answer came within the given seconds."""


class NotReady(ActorError):
    """A static child did not say `ready()` in time."""


class Poisoned(ActorError):
    """Raised inside an actor on purpose, to test its recovery."""


class RestartLimitReached(ActorError):
    """A supervisor gives up."""
