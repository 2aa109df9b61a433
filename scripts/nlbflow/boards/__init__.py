"""From scores to what people read: tables, leaderboards, the page and the paper.

In: scores.json and comparison.json of every run. Out: CSV, Markdown, LaTeX and HTML. The way: `tables` (long tables) →
`boards` (who scored what, as data) → `sheets` (laid out for reading) → `typesetting`; `page` is the leaderboard page.
"""
