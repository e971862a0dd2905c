"""Floor 4: one port for HTTP and WebSocket."""
