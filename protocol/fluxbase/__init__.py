"""The Fluxbase dialect: flat JSON messages, many channels on one socket, rows of tables by their names."""

from protocol.fluxbase.dialect import FluxbaseDialect

__all__ = ["FluxbaseDialect"]
