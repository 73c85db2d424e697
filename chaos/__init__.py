"""Jobs and faults of every kind, and a record in which the system under test has no hand."""
