"""What the operator does, in terms of protocols; `run` decides which implementations it gets."""
