"""What other servers cost against the C program, as measured in 519 interleaved runs on two shared cores, 2026-11.

A run in which a peer is far from it measured something else: another version, a machine of another kind, or a
disturbance; the table then says so.
"""

from workloads.fanout import FanOut
from workloads.requests import Requests

#: How far a ratio may be from what is known.
TOLERANCE = 0.25

_ONE, _SIXTEEN, _FAN_IN = FanOut().name, FanOut(outstanding=16).name, Requests().name

KNOWN = {
    (_ONE, "nchan"): 6.7 / 3.6,
    (_ONE, "node_ws"): 7.5 / 3.6,
    (_ONE, "picows_uvloop"): 4.3 / 3.6,
    (_ONE, "websockets_uvloop"): 8.4 / 3.6,
    (_ONE, "trio_documented"): 50.6 / 3.6,
    (_SIXTEEN, "nchan"): 2.8 / 3.6,
    (_SIXTEEN, "node_ws"): 7.6 / 3.6,
    (_SIXTEEN, "picows_uvloop"): 4.0 / 3.6,
    (_SIXTEEN, "websockets_uvloop"): 8.6 / 3.6,
    (_SIXTEEN, "trio_documented"): 48.7 / 3.6,
    (_FAN_IN, "nchan"): 9.5 / 5.0,
    (_FAN_IN, "node_ws"): 11.1 / 5.0,
    (_FAN_IN, "picows_uvloop"): 10.9 / 5.0,
    (_FAN_IN, "websockets_uvloop"): 26.4 / 5.0,
    (_FAN_IN, "trio_documented"): 92.6 / 5.0,
}

#: Why a server may be far from it.
EXPLAINED = {
    (_SIXTEEN, "nchan"): "how many messages it joins varies, single rounds had 0.67 and 1.38",
}
