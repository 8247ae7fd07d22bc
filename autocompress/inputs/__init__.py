"""What a model reads: rows, the batches made of them, and the tokenizer that an exported folder carries."""
