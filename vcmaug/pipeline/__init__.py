"""The pipeline: a recipe's stages, one after the other, each skipped when nothing has changed."""
