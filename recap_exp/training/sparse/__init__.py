"""Optimisers of embedding tables: run inside the backward pass, on the rows that it touched."""
