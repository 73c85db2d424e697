"""The scaler beside KEDA and HPA, in a simulation that runs the operator's own `decide`."""
