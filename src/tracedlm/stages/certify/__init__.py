"""Certificates of recorded traces, and the settings they are made with."""
