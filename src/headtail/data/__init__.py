"""Files on disk -> collection, queries, qrels, runs, training lists and batches."""
