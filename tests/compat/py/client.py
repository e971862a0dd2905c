"""A realtime-py client that is told on stdin what to do and says on stdout what happened, one JSON object per line.

Run by `tests/compat/client.py` as `client.py <url> <key>`, in a process of its own because the library needs asyncio.
The orders and reports are listed there; `js/client.mjs` understands the same ones, and some that this library lacks.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 (the library under test is built on it)
import json
import sys

from realtime import AsyncRealtimeChannel, AsyncRealtimeClient
from realtime.exceptions import RealtimeHTTPError


def report(event: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}, default=str) + "\n")
    sys.stdout.flush()


def plain(states):
    """Return tracked states as the application gave them; the library's reference must be there."""
    assert all(isinstance(state["presence_ref"], str) for state in states)
    return [
        {key: value for key, value in state.items() if key != "presence_ref"}
        for state in states
    ]


class Client:
    def __init__(self, url: str, key: str) -> None:
        self.realtime = AsyncRealtimeClient(f"{url}/realtime/v1", key)
        self.channels: dict[str, AsyncRealtimeChannel] = {}

    async def subscribe(self, topic, config=None, changes=(), presence=False):
        defaults = {
            "broadcast": {"ack": False, "self": False},
            "presence": {"key": "", "enabled": False},
            "private": False,
        }
        channel = self.realtime.channel(topic, {"config": defaults | (config or {})})
        self.channels[topic] = channel
        channel.on_broadcast("*", lambda message: self.report_broadcast(topic, message))
        channel.on_system(lambda notice: report("system", topic=topic, **notice.model_dump()))
        if presence:
            self.listen_to_presence(channel, topic)
        for wanted in changes:
            channel.on_postgres_changes(
                callback=lambda change: self.report_change(topic, change["data"]), **wanted
            )
        await channel.subscribe(
            lambda status, error: report(
                "status", topic=topic, status=status.value, error=error and str(error)
            )
        )

    def listen_to_presence(self, channel, topic):
        def changed(kind, key, states):
            report("presence", topic=topic, kind=kind, key=key, states=plain(states))

        def synced():
            state = {key: plain(states) for key, states in channel.presence_state().items()}
            report("presence", topic=topic, kind="sync", state=state)

        channel.on_presence_sync(synced)
        channel.on_presence_join(lambda key, _before, new: changed("join", key, new))
        channel.on_presence_leave(lambda key, _after, left: changed("leave", key, left))

    def report_broadcast(self, topic, message):
        name, meta = message["event"], message.get("meta")
        report("broadcast", topic=topic, name=name, payload=message["payload"], meta=meta)

    def report_change(self, topic, data):
        report(
            "change",
            topic=topic,
            type=data["type"].value,
            schema=data["schema"],
            table=data["table"],
            new=data.get("record") or {},
            old=data.get("old_record") or {},
            errors=data["errors"],
            committed_at=data["commit_timestamp"],
        )

    async def send(self, topic, name, payload):
        await self.channels[topic].send_broadcast(name, payload)
        report("sent", topic=topic, name=name, answer="ok")

    async def post(self, topic, name, payload=None, binary=None, config=None, persist=None):
        channel = self.channels.get(topic) or self.realtime.channel(topic, {"config": config})
        error = None
        try:
            await channel.http_send(name, payload if binary is None else bytes.fromhex(binary))
        except RealtimeHTTPError as refused:
            error = str(refused)
        report("posted", topic=topic, name=name, error=error)

    async def track(self, topic, state):
        await self.channels[topic].track(state)
        report("tracked", topic=topic, answer="ok")

    async def untrack(self, topic):
        await self.channels[topic].untrack()
        report("untracked", topic=topic, answer="ok")

    async def set_auth(self, token):
        await self.realtime.set_auth(token)
        report("authorized")

    async def unsubscribe(self, topic):
        await self.channels[topic].unsubscribe()
        report("unsubscribed", topic=topic, answer="ok")

    async def remove(self, topic):
        await self.realtime.remove_channel(self.channels.pop(topic))
        report("removed", topic=topic, answer="ok")


async def main(url: str, key: str) -> None:
    client = Client(url, key)
    orders = {
        "subscribe": client.subscribe,
        "send": client.send,
        "post": client.post,
        "track": client.track,
        "untrack": client.untrack,
        "set_auth": client.set_auth,
        "unsubscribe": client.unsubscribe,
        "remove": client.remove,
    }
    report("started")
    # Tasks are kept until they end: asyncio itself holds no strong reference to them.
    running: set[asyncio.Task[None]] = set()
    while line := await asyncio.to_thread(sys.stdin.readline):
        details = json.loads(line)
        task = asyncio.create_task(orders[details.pop("order")](**details))
        running.add(task)
        task.add_done_callback(running.discard)
    await client.realtime.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
