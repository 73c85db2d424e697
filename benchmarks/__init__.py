"""Measurements of Longshore, each beside its peers. Results are in `results/`."""
