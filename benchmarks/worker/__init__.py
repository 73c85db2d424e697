"""How fast, how late and how large the worker is: `make bench-worker`.

Nothing here is imported by the product. What runs inside a contender (`ledger`, `diary`, `jobs`,
`peers`) uses the standard library and the contender's own package only: each has its own venv.
"""
