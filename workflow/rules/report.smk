"""Tables, figures and the page people read."""
