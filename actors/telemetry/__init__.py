"""Floor 1: logs and metrics; imports nothing of ours."""
