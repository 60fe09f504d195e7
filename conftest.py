"""Servers for every test that asks: a real PostgreSQL, Kafka, OA and identity provider."""

pytest_plugins = ["local_stack.testing"]
