"""What the pipeline's steps share on disk.

One module per artefact, with its schema, writer and checking reader.
"""
