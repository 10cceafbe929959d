"""The commands of `python -m tracedlm`, thin over the public functions."""
