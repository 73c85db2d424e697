"""Longshore on a real cluster: does it take away idle workers only, and how fast does it react?

`make bench-cluster` writes benchmarks/results/cluster.json.
"""
