"""The history: final jobs, their batches and webhook deliveries, in SQL."""
