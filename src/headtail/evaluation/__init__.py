"""Measures, through ir_measures and trec_eval's own code."""
