"""Claims: drafted, handed in, decided."""
