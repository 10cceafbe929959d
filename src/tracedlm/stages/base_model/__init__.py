"""How the shipped model is trained, and the card that describes it."""
