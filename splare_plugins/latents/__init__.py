"""What latents stand for: contexts, names made from them, and the test of the names.

May import the corpus, the model, heads, config and the machine.
"""
