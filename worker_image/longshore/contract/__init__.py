"""What producers, workers and the operator must agree on, said once: names, times, the wire.

Pure: no clock, no randomness, no sockets. Whatever changes here changes a promise to somebody.
"""
