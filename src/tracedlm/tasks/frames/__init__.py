"""A corpus of sentences from semantic frames, with gold part of speech and role of every token, and all that can be known about it."""
