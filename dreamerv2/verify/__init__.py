"""Reference numbers: `case` reads them, `entries` computes them on this machine."""
