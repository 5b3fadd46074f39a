"""Trains the table of a static query encoder: the query side of a model without its transformer."""
