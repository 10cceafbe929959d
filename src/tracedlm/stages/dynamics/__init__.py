"""Training dynamics: corpus, trainings, measures of checkpoints."""
