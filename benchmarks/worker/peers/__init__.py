"""The peers, each set up the way its own manual says, for the same queue and the same no-op.

Equal for all: one durable queue that the harness has declared with nothing but `x-queue-type`,
late ack, no results, two slots, persistent jobs. Where two readings of "equal" are possible, the
peer gets the one that makes it faster: prefetch counts for each consumer, so peers with two
consumers hold twice as many jobs, and peers log warnings only while Longshore logs every job.
"""
