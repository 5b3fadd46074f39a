"""What people do with a model and an engine: index, search, evaluate, explain, feedback, MTEB.

May import all rooms above it in docs/architecture.md.
"""
