"""The golden dialogues, played on a stage in memory whose clock is virtual."""

from __future__ import annotations

import pytest

from tests.support.dialogues import load_dialogues, parse_dialogue, play

DIALOGUES = load_dialogues()
JOIN = 'C: ["1","1","realtime:a","phx_join",{"config":{}}]\n'
JOINED = (
    'S: ["1","1","realtime:a","phx_reply",{"status":"ok","response":{"postgres_changes":[]}}]\n'
)


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda dialogue: dialogue.name)
async def test_the_server_keeps_to_the_dialogue(autojump_clock, dialogue):
    await play(dialogue)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (JOIN, "not in the dialogue"),
        (JOIN + "wait 1\n" + JOINED, "not in the dialogue"),
        (JOIN + JOINED + JOINED, "nothing came"),
        (JOIN + JOINED.replace("ok", "error"), "is not"),
        ("set max_quarrels 1\n" + JOIN + JOINED, "nothing is called max_quarrels"),
    ],
)
async def test_a_dialogue_that_goes_otherwise_is_noticed(autojump_clock, text, complaint):
    with pytest.RaisesGroup(
        pytest.RaisesExc(AssertionError, match=complaint),
        allow_unwrapped=True,
        flatten_subgroups=True,
    ):
        await play(parse_dialogue("x", "version 2.0.0\n" + text))
