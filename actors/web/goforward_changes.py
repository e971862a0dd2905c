"""Row changes of GoForward's channels over HTTP: subscribed, listed, ended; and the tables that may be followed.

Routes of `goforward.py`.
What a client asks for is put to the database before it is kept, so it is told at once what it cannot have;
what each member is shown is decided by row security, change by change and member by member.

**Source**: ledger GF-051…058, GF-062, GF-133, C30, C33, C39; ending a subscription is ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from actors.realtime.change_ports import TableAccess
from actors.realtime.interests import Denied
from actors.realtime.subscribing import Applicant, resolve
from actors.realtime.trigger_ports import MayNotEnable, NoSuchTable
from actors.web.goforward_requests import Problematic, answered
from protocol.changes.conditions import parse_condition
from protocol.errors import ConditionError
from protocol.goforward import codes
from protocol.goforward.ids import timestamp
from protocol.goforward.rest import (
    NAME_CHARACTERS,
    InvalidSubscription,
    filter_members,
    parse_filter,
)
from protocol.managed import Permission

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from actors.realtime.channel_admin import ChannelAdmin
    from actors.realtime.channel_store import StoredSubscription
    from actors.realtime.managed_channels import ManagedChannel
    from actors.realtime.ports import Identity
    from actors.realtime.trigger_ports import TableTriggers
    from actors.web.goforward_requests import Requests
    from protocol.managed import ChangeFilter

#: What Postgres says stands behind this in the words for Supabase's clients.
EXCEPTION = "Exception: "
STREAMING_OFF = codes.disabled("database streaming")


@frozen
class ChangeRoutes:
    """The routes; `boot` returns when the trio clock was 0, in seconds since 1970-01-01 UTC."""

    requests: Requests
    admin: ChannelAdmin
    boot: Callable[[], float] = field(repr=False)
    triggers: TableTriggers | None = None
    is_streaming: bool = True

    def routes(self) -> list[Route]:
        """Return them, relative to where they are mounted."""
        route = self.requests.route
        return [
            route("/channels/{name}/subscribe", {"POST": self._subscribe}),
            route("/subscriptions", {"GET": self._list}),
            route("/subscriptions/{id}", {"DELETE": self._unsubscribe}),
            route("/triggers/{table}", {"POST": self._enable, "DELETE": self._disable}),
        ]

    async def _subscribe(self, request: Request) -> Response:
        channel, identity = await self._admit(request)
        with self.requests.hold() as held:
            wanted = parse_filter(await self.requests.body(request, held))
        if wanted.condition is not None:
            try:
                wanted = evolve(wanted, filters=parse_condition(wanted.condition))
            except ConditionError as fault:
                raise InvalidSubscription(fault.reason) from None
        await self._refuse_unless_granted(wanted, identity)
        subscription = await self.admin.subscribe(channel, wanted, identity)
        if subscription is None:
            raise Problematic(codes.channel_not_found(channel.name))
        response = answered(
            {
                "message": "subscribed to database changes",
                "channel": channel.name,
                "filter": filter_members(wanted),
            }
        )
        response.headers["location"] = f"/realtime/subscriptions/{subscription.id}"
        return response

    async def _admit(self, request: Request) -> tuple[ManagedChannel, Identity]:
        """Return channel and sender of a request to subscribe; that always takes a token."""
        identity = await self.requests.identify(request)
        channel = self.requests.channel(request)
        if channel is None:
            raise Problematic(codes.channel_not_found(self.requests.name(request)))
        if not self.requests.may(identity, channel, Permission.WRITE):
            raise Problematic(codes.permission_denied(Permission.WRITE.value))
        if not self.is_streaming:
            raise Problematic(STREAMING_OFF)
        return channel, identity

    async def _refuse_unless_granted(self, wanted: ChangeFilter, identity: Identity) -> None:
        """Ask the database whether somebody may follow a table like that.

        Raises:
            Problematic: no; with what the database says.
            Unavailable: it cannot be asked now.
        """
        feed, name = self.requests.tenant.feed, wanted.table
        if not feed.tables.allow(wanted.schema, name):
            raise Problematic(codes.subscription_failed(f"Table '{name}' is not followed"))
        access = await feed.subscriptions.access(identity.role, wanted.schema, name)
        if access is TableAccess.MISSING:
            details = f"Table '{name}' does not exist"
            raise Problematic(codes.subscription_failed(details, is_missing=True))
        if access is TableAccess.DENIED:
            details = f"The role of the token may not read table '{name}'"
            raise Problematic(codes.subscription_failed(details))
        (outcome,) = await resolve([Applicant(identity.role, wanted.bindings())], feed)
        if isinstance(outcome, Denied):
            _, _, said = outcome.fault.rpartition(EXCEPTION)
            is_published = EXCEPTION in outcome.fault
            details = said if is_published else f"Table '{name}' is not published"
            raise Problematic(codes.subscription_failed(details))

    async def _list(self, request: Request) -> Response:
        identity = await self.requests.identify(request)
        found = [
            self._described(channel, subscription)
            for channel in self.requests.tenant.managed
            if self.requests.may(identity, channel, Permission.READ)
            for subscription in channel.subscriptions.values()
        ]
        return answered({"subscriptions": found, "total": len(found)})

    def _described(
        self, channel: ManagedChannel, subscription: StoredSubscription
    ) -> dict[str, Any]:
        activity = self.admin.activity(channel, subscription.id)
        last_at = (
            subscription.created_at
            if activity.last_at is None
            else self.boot() + activity.last_at
        )
        return {
            "id": subscription.id,
            "channel_name": channel.name,
            "filter": filter_members(subscription.wanted),
            "user_id": subscription.user_id,
            "created_at": timestamp(subscription.created_at),
            "last_activity": timestamp(last_at),
            "message_count": activity.messages,
        }

    async def _unsubscribe(self, request: Request) -> Response:
        identity = await self.requests.identify(request)
        subscription_id = request.path_params["id"]
        for channel in self.requests.tenant.managed:
            subscription = channel.subscriptions.get(subscription_id)
            if subscription is not None:
                is_own = bool(identity.user_id) and subscription.user_id == identity.user_id
                if not is_own and not self.requests.may(identity, channel, Permission.ADMIN):
                    raise Problematic(codes.permission_denied(Permission.ADMIN.value))
                await self.admin.unsubscribe(channel, subscription_id)
                return answered({"message": "unsubscribed from database changes"})
        raise Problematic(codes.not_found("There is no such subscription"))

    async def _enable(self, request: Request) -> Response:
        triggers = await self._triggers(request)
        return await self._switch(request, triggers.enable, "setup")

    async def _disable(self, request: Request) -> Response:
        triggers = await self._triggers(request)
        return await self._switch(request, triggers.disable, "removed")

    async def _triggers(self, request: Request) -> TableTriggers:
        """Return what switches tables on and off, for who may do that.

        Raises:
            Problematic: the sender may not, or there is no database.
        """
        identity = await self.requests.identify(request)
        if not self.requests.is_admin(identity):
            raise Problematic(codes.permission_denied(Permission.ADMIN.value))
        if self.triggers is None:
            raise Problematic(STREAMING_OFF)
        return self.triggers

    async def _switch(
        self, request: Request, switch: Callable[[str, str], Awaitable[None]], what: str
    ) -> Response:
        table: str = request.path_params["table"]
        schema = request.query_params.get("schema", "public")
        if not all(0 < len(n) <= NAME_CHARACTERS and n.isprintable() for n in (table, schema)):
            raise Problematic(codes.invalid_request("no table is called so"))
        try:
            await switch(schema, table)
        except NoSuchTable:
            raise Problematic(codes.not_found(f"Table '{table}' does not exist")) from None
        except MayNotEnable as refused:
            raise Problematic(codes.permission_denied("", refused.reason)) from None
        return answered({"message": f"trigger {what} successfully", "table": table})
