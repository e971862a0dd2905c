"""Floor 3: from tokens to identities."""
