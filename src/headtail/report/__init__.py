"""Tables, charts and the side-by-side view: what a person looks at after a run.

Nothing is imported here, so that a table in the terminal does not wait for matplotlib.
"""
