"""The front door: accepts jobs over HTTP and answers for them."""
