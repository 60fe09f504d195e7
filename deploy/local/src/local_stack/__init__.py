"""Real PostgreSQL, Kafka, Flowable and an identity provider on one machine, without Docker."""
