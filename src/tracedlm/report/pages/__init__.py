"""Pages for readers: the report, its PDF, the explorer, and the sentences in them."""
