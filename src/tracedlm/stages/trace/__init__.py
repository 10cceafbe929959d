"""Traces of full decoding, and the views of them."""
