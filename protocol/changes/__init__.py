"""What the database says: the replication stream decoded, values rendered, still no dialect and no socket."""
