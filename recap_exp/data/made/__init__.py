"""Data sets that the program makes itself: without signal (random, halves, null) and with a known one (planted)."""
