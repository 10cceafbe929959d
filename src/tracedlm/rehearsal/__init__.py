"""A study run to its end at tiny size.

Does this config finish, before hours on a rented GPU are spent on it?

Nothing is overridden but sizes, and where the model and the data are.
"""
