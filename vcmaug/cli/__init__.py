"""The command line: one verb per file, in the order of the flow."""
