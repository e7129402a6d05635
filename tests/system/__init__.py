"""System tests: the bot on real Kafka, Connect, registry, PostgreSQL, Prometheus, Alertmanager and Chromium."""
