"""A sparse autoencoder for one's own backbone and corpus, trained with EleutherAI's sparsify."""
