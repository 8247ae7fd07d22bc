"""Faults, one kind a module: each strikes real processes of the program and counts what came of it.

`studies/benchmarks/faults.py` runs all of them and keeps the table; `tests/test_faults.py` runs a short form.
"""
