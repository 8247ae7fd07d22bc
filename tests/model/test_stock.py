"""Stock exports that only time is read of: made once for a shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoModelForSequenceClassification

from autocompress.exported.stock import shape_digest, stock_to_time


def small(**settings: Any) -> Any:
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16, "num_hidden_layers": 1}
    config = AutoConfig.for_model("bert", vocab_size=50, **sizes, **settings)
    return AutoModelForSequenceClassification.from_config(config).eval()


def test_one_export_serves_all_models_of_a_shape_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path))
    with stock_to_time(small()) as path:
        first, made = path, path.stat()
    with stock_to_time(small(id2label={0: "other", 1: "names"})) as again:
        assert again == first
        assert (again.stat().st_ino, again.stat().st_mtime_ns) == (made.st_ino, made.st_mtime_ns)
    assert shape_digest(small(hidden_act="relu")) != shape_digest(small())


def test_where_nothing_can_be_kept_it_is_made_for_one_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "file"))
    with stock_to_time(small()) as path:
        assert path.stat().st_size > 1000
    assert not path.exists()
