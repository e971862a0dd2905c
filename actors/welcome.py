"""What a developer is shown at the start: where the server is, keys to try it with, lines to paste."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.auth.tokens import mint

if TYPE_CHECKING:
    from actors.db.address import Address

KEY_LIFETIME_S = 365 * 24 * 3600.0

WELCOME = """
Troupe is playing at {url}
{database}
  !! DEVELOPMENT KEYS: everybody who knows Troupe can make them. Anything reachable from outside needs
  !! REALTIME_ENV=production and a REALTIME_JWT_SECRET of your own.
  anon key          {anon}
  service_role key  {service_role}

Paste into a file hello.mjs, then `npm install @supabase/supabase-js` and `node hello.mjs`:

  import {{ createClient }} from '@supabase/supabase-js'
  const supabase = createClient('{url}', '{anon}')
  const room = supabase.channel('room', {{ config: {{ broadcast: {{ self: true }} }} }})
  room.on('broadcast', {{ event: 'hello' }}, ({{ payload }}) => console.log('heard', payload))
  room.on('postgres_changes', {{ event: '*', schema: 'public', table: 'messages' }}, (change) =>
    console.log(change.eventType, change.new, change.old))
  room.subscribe((status) => {{
    if (status === 'SUBSCRIBED') room.send({{ type: 'broadcast', event: 'hello', payload: {{ from: 'me' }} }})
  }})
"""

WRITE = """
Its database (the table public.messages is published); write to it from another terminal:
  {psql}
  insert into messages (sender, body) values ('me', 'hello');
"""


def welcome(url: str, secret: str, now: float, address: Address | None) -> str:
    """Return the text; `secret` must be the development secret, for keys made with it are in it."""
    expires_at = now + KEY_LIFETIME_S
    return WELCOME.format(
        url=url,
        anon=mint(secret, "anon", expires_at),
        service_role=mint(secret, "service_role", expires_at),
        database="" if address is None else WRITE.format(psql=address.psql_command),
    )
