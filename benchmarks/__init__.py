"""What is fast, and against what: `python -m benchmarks`. Every figure compares two ways of doing a thing in one run, in turn."""
