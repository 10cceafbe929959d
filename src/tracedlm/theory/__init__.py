"""Floor 0: the equations.

Arrays in, arrays out; no I/O, configuration, clock or global random state.
"""
