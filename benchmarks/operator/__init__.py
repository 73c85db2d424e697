"""How the operator does with a thousand TaskQueues: `make bench-operator`."""
