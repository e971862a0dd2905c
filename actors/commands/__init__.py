"""Floor 6: what `troupe` can do besides serving, one file per command."""
