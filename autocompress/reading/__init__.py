"""Texts as people have them: files, folders and tables into texts and labels. Every mistake in them is named by file
and row."""

from autocompress.reading.cells import ordered
from autocompress.reading.given import kept, raw_lines, rows_given
from autocompress.reading.labelled import ALL, Labelled, Rows, read_labelled
from autocompress.reading.unlabelled import read_texts

__all__ = ["ALL", "Labelled", "Rows", "kept", "ordered", "raw_lines", "read_labelled", "read_texts", "rows_given"]
