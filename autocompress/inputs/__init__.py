"""What a model reads and gives: rows, the batches made of them, the tokenizer that an exported folder carries, and
outputs position by position."""
