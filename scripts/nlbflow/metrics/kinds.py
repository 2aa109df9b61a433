"""The kinds of rows in tables and files, and which of them compete.

A `control` is a simple statistical model that a better one has to beat by a real margin: it is ranked like any
`competitor`, and marked. `oracle`, `implausible` and `null` are shown and not ranked.
"""

COMPETITOR, CONTROL = "competitor", "control"
RANKED = (COMPETITOR, CONTROL)
