"""TwHIN (arXiv 2202.05387): embeddings of a heterogeneous graph by translations and their relatives."""
