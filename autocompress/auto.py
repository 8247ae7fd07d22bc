"""`import autocompress.auto`, and transformers loads every compressed folder of a classifier:

import autocompress.auto
from transformers import AutoModelForSequenceClassification, pipeline

model = AutoModelForSequenceClassification.from_pretrained("picked")
classify = pipeline("text-classification", model="picked")

Folders that a config of their family can say need no such import. See `exported.adapter`.
"""

from __future__ import annotations

from autocompress.exported.adapter import register

register()
