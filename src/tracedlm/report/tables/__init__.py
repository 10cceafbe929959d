"""Tables: one module for each group, with the rows of the .csv and how they are shown."""
