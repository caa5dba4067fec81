"""Loading, validating and selecting instance suites."""
