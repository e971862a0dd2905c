"""The GoForward dialect: managed channels over HTTP, and one WebSocket per channel."""
