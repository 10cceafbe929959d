"""Tables, figures and the page people read: from metrics alone, never from models or their text."""
