"""From a migration to the Avro schema that Debezium would register for it."""
