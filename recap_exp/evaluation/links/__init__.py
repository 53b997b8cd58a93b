"""How well a graph model ranks the true end of an edge among all others."""
