"""Policy: how much may be spent on what, as dated rules that are data."""
