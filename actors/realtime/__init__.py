"""Floor 2: the actors this server is made of, and the ports they need."""
