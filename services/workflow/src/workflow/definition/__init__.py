"""How documents are approved: definitions as data, conditions, and the planned route."""
