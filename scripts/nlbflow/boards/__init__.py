"""From scores to what people read: tables, leaderboards, the page and the paper.

In: scores.json of every run, comparison.json of every place. Out: CSV, Markdown, LaTeX and HTML. The steps: `tables`
(long tables) → `boards` (scores as data) → `sheets` (laid out for reading) → `typesetting`; `page` is the leaderboard
page; `front` says which models no other really beats in accuracy and interpretability.
"""
