"""Development on one machine: a cluster, images, brokers. `python3 -m dev`; standard library only.

Tests that run from the repository's root use the same functions: `dev.clusters.up()`,
`dev.images.up()`, `dev.brokers.up()`. Each returns what its file in build/ holds.
"""
