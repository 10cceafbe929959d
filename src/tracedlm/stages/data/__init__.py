"""Problems, downloads, and released generations that are marked again."""
