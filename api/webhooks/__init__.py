"""Webhooks for tenants: deliveries, endpoints, secrets, and a test event."""
