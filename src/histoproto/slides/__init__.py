"""Whole slides: reading, segmenting in bounded memory, and what is written about them."""
