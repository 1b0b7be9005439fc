"""Carry a plan out with an API client, and find out what became of it."""
