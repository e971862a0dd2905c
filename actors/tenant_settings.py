"""What the settings say of the tenant: its limits, and what is switched on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.realtime.tenant import Limits, TenantStatus, payload_bytes

if TYPE_CHECKING:
    from actors.settings import Settings


def limits_of(settings: Settings) -> Limits:
    """Return how much a client may do, and for how long it may take."""
    return Limits(
        payload_bytes=payload_bytes(settings.max_payload_size_in_kb),
        join_error_delay_s=settings.join_error_delay_s,
        no_channel_timeout_s=settings.no_channel_timeout_s,
        connections_per_user=settings.max_connections_per_user,
    )


def status_of(settings: Settings) -> TenantStatus:
    """Return what the tenant's clients may do at all."""
    return TenantStatus(
        is_suspended=settings.suspend,
        is_private_only=settings.private_only,
        is_presence_enabled=settings.presence_enabled,
        takes_broadcasts=settings.enable_broadcast,
        takes_presence=settings.enable_presence,
    )
