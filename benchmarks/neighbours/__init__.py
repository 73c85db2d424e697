"""Limits and probes of a worker whose other slots are taken by hostile jobs."""
