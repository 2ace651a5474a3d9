"""The OpenAI Images API, for clients that speak it already."""
