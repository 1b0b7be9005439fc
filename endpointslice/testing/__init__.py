"""A Kubernetes API server to test a controller against: small, strict, and told to fail."""
