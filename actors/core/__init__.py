"""Floor 1: what an actor is. Knows no domain word and imports nothing of ours."""
