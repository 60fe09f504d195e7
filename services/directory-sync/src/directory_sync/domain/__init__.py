"""What a source says about people and departments, and what follows from it. Pure."""
