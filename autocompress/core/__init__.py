"""Plain values and the laws between them. Standard library only."""
