"""A corpus of sentences from semantic frames.

With gold part of speech and role of every token, and all that can be known about it.
"""
