"""Who must decide, in which order and why; and what a decision does. Pure."""
