"""The workloads: each is one file, that says what is done to a server and what of it is counted."""
