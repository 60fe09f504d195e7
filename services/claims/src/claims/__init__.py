"""Expense claims: drafted, handed in, decided, paid."""
