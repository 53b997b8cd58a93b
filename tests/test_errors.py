"""Errors are one line, whatever the library beneath had to say."""

from __future__ import annotations

import pytest

from recap_exp.errors import first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [(ValueError("\nbad magic\nat byte 3\n"), "bad magic"), (OSError(), "OSError"), (EOFError(), "EOFError")],
)
def test_the_first_line_of_any_error(error, line):
    assert first_line(error) == line
