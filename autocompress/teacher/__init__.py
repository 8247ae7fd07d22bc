"""The uncompressed model: its checkpoint, how it is made ready for its task, what its units are worth."""
