"""Broken inputs, each refused as documented: the table, by kind, and what every row is held to."""
