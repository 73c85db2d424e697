"""Names of the environment variables by which the harness talks to a peer."""

URL = "BENCH_AMQP_URL"
QUEUE = "BENCH_QUEUE"
QUEUE_TYPE = "BENCH_QUEUE_TYPE"
PREFETCH = "BENCH_PREFETCH"
PAYLOAD = "BENCH_PAYLOAD"
