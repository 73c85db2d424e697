"""What producers, workers and the operator must agree on: names, times and the wire format.

It is pure: no clock, no randomness, no sockets. Every change here changes a promise to users.
"""
