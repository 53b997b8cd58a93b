"""Heterogeneous graphs: entities of several types, typed edges between them, read from files, triples or an event log."""
