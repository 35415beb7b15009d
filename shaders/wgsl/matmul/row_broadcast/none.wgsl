// Nothing: for ways to multiply that read their inputs themselves.
