"""The drill world: everything a CDC pipeline and its on-call touch, on loopback.

One process plays Slack, Kafka, the Schema Registry, Kafka Connect, a job runner, the
source database, the lake and Alertmanager. Nothing here is a recording: records move,
schemas are refused by a real compatibility check, offsets are committed to a broker.
The bot that runs against it is the real bot; only base URLs differ.

This package imports no other part of the bot. It is handed a bot factory.
"""
