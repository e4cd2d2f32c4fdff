"""Inference: from activation maps to masks; `Segmenter` is the one object needed to predict."""
