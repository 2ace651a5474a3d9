"""Webhooks as their owner sees them: deliveries, receivers, secrets, and a test event."""
