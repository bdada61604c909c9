"""Other forms of a report, made from its Markdown so that no number can differ."""
