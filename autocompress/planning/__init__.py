"""What a study may do within its minutes: arithmetic on what was measured. Nothing here takes a time itself."""
