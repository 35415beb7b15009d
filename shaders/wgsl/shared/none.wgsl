// Empty: replaces a file that a variant does not need.
