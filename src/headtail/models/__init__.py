"""Encoders, poolings and the ranker made of them; see ranker.py."""
