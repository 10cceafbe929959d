collect_ignore = ["campaign.py"]  # imports atheris, which no extra brings
