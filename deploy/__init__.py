"""Deployment files. The Python code here generates some of them."""
