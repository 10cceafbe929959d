"""The steps of the pipeline, one module per rule: read, compute, write."""
