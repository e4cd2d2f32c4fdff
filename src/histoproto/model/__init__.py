"""Encoders, the prototype bank, the network that makes activation maps, teachers, and saving and loading."""
