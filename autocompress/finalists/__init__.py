"""From what was searched to what is offered: promoted, trained in full, verified."""
