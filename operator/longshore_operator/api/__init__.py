"""What users write: the custom resources, and the CRDs made from them."""
