"""The command line of Tonglu."""
