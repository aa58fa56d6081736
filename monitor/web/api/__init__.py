"""`/api/v1`: the open data, as JSON and CSV, described by its own schema."""
