"""Exit rules: compared, tuned, evaluated, audited, and chosen with controlled risk."""
