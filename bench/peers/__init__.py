"""The servers a workload can be run against, each with its own folder of sources."""
