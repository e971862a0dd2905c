"""Floor 3: everything that speaks to Postgres."""
