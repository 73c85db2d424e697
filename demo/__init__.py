"""`make demo`: the example in `examples/render`, run for real and judged job by job."""
