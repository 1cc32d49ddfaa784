"""The whole system on one machine: embedded PostgreSQL and Valkey, shim, worker and Flower as processes."""
