"""Payments: the money of an approved claim, asked for and paid once."""
