"""Floor 0: what is said on the wire, and nothing else.

The law of this floor: standard library, attrs and msgspec only.
No socket, no clock, no random numbers, no logging, no environment; bytes and values in, values and bytes out.
Wrong input raises a `ProtocolError` and never anything else.
A dialect folder may import the neutral files here and `changes`, never another dialect.
"""
