"""Reasoning Representation Maps: made, stored and compared."""
