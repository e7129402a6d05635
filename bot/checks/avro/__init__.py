"""The Avro engine: reading, linting, schema resolution, change rules. Nothing here uses an Avro library."""
