"""The codes of Supabase Realtime that this server never gives, by the reason why not.

For operators who search their logs for what they know from there; shown in docs/reference/error-codes.md.
A code that begins to occur moves to `codes.py`; `tests/architecture/test_codes.py` sees to that.

**Source**: spec 10 (supabase/realtime 2.129, ERROR_CODES.md and what its source logs beside it).
"""

from typing import Final

_CLUSTER: Final = "there is one node"
_TENANTS: Final = "there is one tenant, and it is always there"
_STATES: Final = "a database that is away is waited for; the log says `source.unavailable` or `postgres.refused`"
_STREAM: Final = (
    "one stream of `pgoutput` serves row changes; the log says `source.…` and `slot.…`"
)

ABSENT: Final = {
    _CLUSTER: (
        "RealtimeNodeDisconnected",
        "TimeoutOnRpcCall",
        "ErrorOnRpcCall",
        "RpcError",
        "SynInitializationError",
        "UnableToCheckProcessesOnRemoteNode",
        "MusterJoinError",
    ),
    _TENANTS: (
        "TenantNotFound",
        "UnableToDeleteTenant",
        "InitializingProjectConnection",
    ),
    "a connection or a request that is refused has a code that says why": (
        "ErrorConnectingToWebsocket",
        "UnknownErrorOnController",
        "UnknownErrorOnCounter",
        "UnknownError",
        "UnhandledProcessMessage",
        "UnableToEncodeJson",
        "HttpServerError",
        "HttpClientError",
        "RateCounterError",
    ),
    "parts of a join that are invalid take their defaults; the log says `join.adjusted`": (
        "InvalidJoinPayload",
    ),
    "a subscription that ends by our will is told why in a `system` message": (
        "ChannelShutdown",
    ),
    "a broadcast that is dropped has a reason of its own (above)": ("UnableToHandleBroadcast",),
    _STATES: (
        "UnableToConnectToTenantDatabase",
        "DatabaseLackOfConnections",
        "DatabaseConnectionDown",
        "DatabaseConnectionRateLimitReached",
        "DatabaseConnectionRecoveryWindowExceeded",
        "DatabaseIpVersionIsIpv4",
        "UnableCheckoutConnection",
        "ErrorExecutingTransaction",
        "ErrorRunningQuery",
    ),
    _STREAM: (
        "RealtimeDisabledForConfiguration",
        "ReconnectSubscribeToPostgres",
        "ErrorStartingPostgresCDC",
        "PoolingReplicationPreparationError",
        "PoolingReplicationError",
        "ReplicationSlotBeingUsed",
        "ReplicationPollerConnectionFailed",
        "ReplicationPollerMaxRetriesReached",
        "DropReplicationSlotFailed",
        "CheckOidsError",
        "SubscriptionManagerConnectionFailed",
        "SubscriptionCleanupFailed",
        "SubscriptionDeletionFailed",
        "IncreaseSubscriptionConnectionPool",
        "PgStatActivityQueryFailed",
        "StartReplicationFailed",
        "ReplicationConnectionTimeout",
        "ReplicationConnectionDown",
        "ReplicationConnectionRecoveryFailed",
        "ReplicationConnectionWatchdogTimeout",
        "ReplicationMaxWalSendersReached",
        "ReplicationSlotNotAlive",
        "ReplicationSlotLagTooHigh",
        "ReplicationSlotCheckSkipped",
        "ReplicationRecoveryWindowExceeded",
        "UnexpectedMessageReceived",
    ),
    "a presence message that is refused is counted under a reason of its own (above)": (
        "PresenceRateLimitReached",
        "ClientPresenceRateLimitReached",
        "UnableToHandlePresence",
        "UnableToTrackPresence",
        "UnknownPresenceEvent",
        "InvalidPresencePayload",
    ),
    "a policy that fails is no permission; the log says `policy.failed`": (
        "UnableToSetPolicies",
        "RlsPolicyError",
    ),
    "it is a warning of the function `realtime.send`, which the session that called it reads": (
        "WarnSendingBroadcastMessage",
    ),
    "the janitor and `migrate` say in a sentence what went wrong": (
        "MigrationsFailedToRun",
        "MigrationCountMismatch",
        "MigrationCountMismatchReconcileFailed",
        "PartitionCreationFailed",
        "JanitorFailedToDeleteOldMessages",
    ),
    "metrics are fetched, never pushed": (
        "MetricsPusherTimeout",
        "MetricsPusherTaskExited",
        "MetricsPusherFailed",
        "MetricsPusherException",
    ),
}
