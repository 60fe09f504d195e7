"""One document's approval: whom it asks, what they may do, and what came of it."""
