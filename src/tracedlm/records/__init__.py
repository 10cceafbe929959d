"""What the pipeline's steps share on disk: one module per artefact, with its schema, writer and checking reader."""
