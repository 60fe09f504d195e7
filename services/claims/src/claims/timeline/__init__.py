"""Timelines: every event of a claim's road, with its place on its topic."""
