"""The dashboard in a real browser: what it shows, that it keeps up, and that nothing leaves the server's origin."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
import trio

from tests.compat.client import JS, SUPABASE_JS_V2, node_command
from tests.support.browser import chromium
from tests.support.operating import Operator
from tests.support.tokens import mint

MESSAGES = {"event": "INSERT", "schema": "public", "table": "messages"}
#: The build for pages without a bundler.
SUPABASE_JS = JS / "node_modules/@supabase/supabase-js/dist/umd/supabase.js"
HOSTILE = "<img src=x onerror=window.hacked=1>"


@pytest.fixture
async def page(server):
    async with chromium() as page:
        await page.open(f"{server.url}/_/")
        yield page


async def enter(page, key) -> None:
    """Type a key into the form and send it."""
    await page.evaluate(f"document.querySelector('#key').value = {json.dumps(key)}")
    await page.evaluate("document.querySelector('#login').requestSubmit()")


async def row(page, section, *words) -> list[str]:
    """Wait for a row of a section in which each of these words is a cell, and return its cells."""
    return await page.until(f"""
        [...document.querySelectorAll('#{section} tbody tr')]
            .map((row) => [...row.cells].map((cell) => cell.textContent))
            .find((cells) => {json.dumps(words)}.every((word) => cells.includes(word)))
    """)


async def search(page, section, text) -> list[list[str]]:
    """Type into the search box of a section, and return the rows that are left."""
    return await page.evaluate(f"""
        (() => {{
            const box = document.querySelector('#{section} input');
            box.value = {json.dumps(text)};
            box.dispatchEvent(new Event('input'));
            return [...document.querySelectorAll('#{section} tbody tr')]
                .map((row) => [...row.cells].map((cell) => cell.textContent));
        }})()
    """)


@pytest.mark.capability("SB-125", "SB-126", "SB-127", "FB-081", "GF-009")
async def test_it_shows_who_is_connected_and_where_and_keeps_up(
    page, server, start_client, topic
):
    await enter(page, mint("service_role"))
    client = start_client(SUPABASE_JS_V2)
    client.join(topic, presence="someone", changes=[MESSAGES])
    client.track(topic, {"is": "here"})

    connection = await row(page, "connections", f"realtime:{topic}")
    channel = await row(page, "channels", topic, "public", "1", "someone")
    change = await row(page, "changes", topic, "INSERT", "public.messages")
    found = await search(page, "connections", f"realtime:{topic}")
    client.unsubscribe(topic)
    await page.until(f"!document.querySelector('#channels').textContent.includes('{topic}')")

    assert connection[1:4] == ["anon", "anon", "127.0.0.1"]
    assert channel[2:4] == ["1", "1"]
    assert change[1] == "anon"
    assert found == [connection]
    assert int(await page.evaluate("document.querySelector('#totals dd').textContent")) >= 2


@pytest.mark.capability("SB-188")
async def test_supabase_js_works_in_a_browser_and_the_dashboard_shows_it(page, server, topic):
    node_command("client.mjs")  # the package is there, or the test is left out
    await enter(page, mint("service_role"))
    await page.evaluate(f"{SUPABASE_JS.read_text('utf-8')}; true")
    heard = await page.evaluate(f"""
        new Promise((resolve) => {{
            const client = supabase.createClient({json.dumps(server.url)}, {json.dumps(mint())});
            const room = client.channel({json.dumps(topic)}, {{config: {{broadcast: {{self: true}}}}}});
            room.on('broadcast', {{event: 'hello'}}, ({{payload}}) => resolve(payload.from));
            room.subscribe((status) => status === 'SUBSCRIBED'
                && room.send({{type: 'broadcast', event: 'hello', payload: {{from: 'me'}}}}));
        }})
    """)

    assert heard == "me"
    assert await row(page, "channels", topic, "public", "1")
    assert await row(page, "connections", f"realtime:{topic}", "anon")


async def test_it_shows_a_crash_and_the_restart(page, server, start_client, topic):
    await enter(page, mint("service_role"))
    start_client(SUPABASE_JS_V2).join(topic)
    name = f"channel:public:{topic}"
    before = await row(page, "actors", name)
    await trio.to_thread.run_sync(Operator(server.url).crash, name)

    after = await row(page, "actors", name, "1")
    incident = await row(page, "incidents", name)

    assert before[:4] == ["channels", name, "running", "0"]
    assert after[:4] == ["channels", name, "running", "1"]
    assert incident[2:] == ["crashed", "Poisoned"]


async def test_what_clients_call_themselves_is_text_and_nothing_leaves_the_origin(
    page, server, start_client, topic
):
    key = mint("service_role")
    await enter(page, key)
    client = start_client(SUPABASE_JS_V2)
    client.set_auth(mint("authenticated", sub=HOSTILE))
    client.join(HOSTILE + topic, presence=HOSTILE)
    client.track(HOSTILE + topic, {})

    await row(page, "channels", HOSTILE + topic, HOSTILE)
    await row(page, "connections", f"realtime:{HOSTILE}{topic}")
    origins = {urlsplit(address).netloc for address in page.addresses if "data:" not in address}

    assert await page.evaluate("window.hacked === undefined")
    assert await page.evaluate("document.querySelectorAll('main img').length") == 0
    assert await page.violations() == []
    assert page.complaints == []
    assert origins == {urlsplit(server.url).netloc}
    assert [address for address in page.addresses if key in address] == []
    assert await page.evaluate("location.href") == f"{server.url}/_/"
    assert await page.evaluate("Object.keys(localStorage).length + document.cookie.length") == 0


async def test_a_key_of_another_role_is_refused_and_forgotten(page):
    await enter(page, mint("authenticated"))

    refusal = await page.until("document.querySelector('#refused').textContent")

    assert "not one of the role service_role" in refusal
    assert await page.evaluate("sessionStorage.length") == 0
    assert not await page.evaluate("document.querySelector('#login').hidden")


async def test_a_page_that_is_loaded_again_goes_on_and_one_that_forgets_the_key_asks_for_it(
    page, server
):
    await enter(page, mint("service_role"))
    await row(page, "actors", "reporter")
    await page.open(f"{server.url}/_/")
    await row(page, "actors", "reporter")
    await page.evaluate("document.querySelector('#leave').click()")

    await page.until("!document.querySelector('#login').hidden")

    assert await page.evaluate("sessionStorage.length") == 0


async def test_everything_on_the_page_has_a_name_for_those_who_do_not_see_it(page):
    await enter(page, mint("service_role"))
    await row(page, "actors", "reporter")

    nameless = await page.evaluate("""
        [...document.querySelectorAll('input, button, table, section')]
            .filter((one) => one.checkVisibility())
            .filter((one) => !(one.textContent.trim() || one.ariaLabel || one.labels?.length
                || document.getElementById(one.getAttribute('aria-labelledby'))?.textContent))
            .map((one) => one.outerHTML)
    """)

    assert nameless == []
    assert await page.evaluate("document.documentElement.lang") == "en"
    assert (
        await page.evaluate("document.querySelectorAll('thead th:not([scope=col])').length")
        == 0
    )


async def test_a_page_that_went_against_its_policy_would_be_stopped_and_noticed(page):
    await page.evaluate("""
        new Promise((seen) => {
            addEventListener('securitypolicyviolation', seen);
            new Image().src = 'https://elsewhere.invalid/';
        })
    """)
    is_stopped = await page.evaluate("""
        (() => { try { document.body.innerHTML = '<b>x</b>'; } catch { return true; } })()
    """)

    assert (await page.violations())[0] == "img-src https://elsewhere.invalid/"
    assert is_stopped
    assert page.complaints != []
