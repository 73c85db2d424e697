"""What the operator does, against protocols; who is behind them is decided in `run`."""
