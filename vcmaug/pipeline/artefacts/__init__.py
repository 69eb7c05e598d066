"""The artefacts of a recipe; `graph` puts them together."""
