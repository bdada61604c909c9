"""A trained agent: what was saved, and what can be done with it.

`snapshot` reads it, `weights` builds it, and `loaded` is it in a program's hands.
`player` plays what `tasks` finds again, `evaluation` counts what it reaches. `export`
writes it for programs that do not have this package.
"""
