"""Figures: the rows that each shows, and how they are drawn."""
