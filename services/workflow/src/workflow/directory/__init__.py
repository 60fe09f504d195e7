"""Our own copy of people and departments, by event."""
