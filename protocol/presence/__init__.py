"""Presence without a wire or a clock: what is tracked on a topic, and how much of it everybody has been told."""
