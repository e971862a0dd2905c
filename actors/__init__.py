"""The realtime server: actors on trio, from the core (floor 1) to the command line (floor 6)."""
