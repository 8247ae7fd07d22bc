"""A study from its beginning to its end: what users of Python open, run, resume and pick from."""
