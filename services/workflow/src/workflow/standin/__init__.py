"""Who decides for whom while someone is away."""
