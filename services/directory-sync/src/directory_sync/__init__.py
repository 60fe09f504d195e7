"""People and departments, from the source that each company names."""
