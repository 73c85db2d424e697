"""A real one-node Kubernetes of processes on this machine: docs/adr/0001-embedded-cluster.md."""
