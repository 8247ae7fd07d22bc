"""The tokenizer that is deployed reads every text as transformers does, or is refused before anything is trained."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from autocompress.errors import IntegrityError, SpecError
from autocompress.inputs.tokenizer import TextTokenizer
from autocompress.tasks.tokenization import HARD_TEXTS, Tokenization, open_tokenization

LONGEST = 12
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "soup", "goal", "we", "saw", "cafe", "café", "Soup"]
WORDPIECES = [*SPECIAL, *WORDS, *string.printable[:94], *(f"##{letter}" for letter in string.ascii_lowercase)]
TEXTS = ["We SAW the Soup", "the goal", "café cafe\u0301 CAFÉ", "we saw [MASK] and [SEP] here", "x" * 99, "we " * 40]


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def vocabulary_alone(folder: Path, tokens: list[str] = WORDPIECES, **config: Any) -> None:
    """As transformers 2 and 3 saved a BERT."""
    write_json(folder / "config.json", {"model_type": "bert"})
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", **config})
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")


def no_config(folder: Path) -> None:
    vocabulary_alone(folder)
    (folder / "tokenizer_config.json").unlink()


def distilbert(folder: Path) -> None:
    vocabulary_alone(folder, do_lower_case=False)
    write_json(folder / "config.json", {"model_type": "distilbert"})
    write_json(folder / "tokenizer_config.json", {"do_lower_case": False})


def config_disagrees(folder: Path, *, in_file: bool) -> None:
    """`tokenizer.json` lower-cases, and `tokenizer_config.json` says that it does not, or the other way round."""
    vocabulary_alone(folder, do_lower_case=in_file)
    AutoTokenizer.from_pretrained(str(folder)).save_pretrained(str(folder))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    write_json(folder / "tokenizer_config.json", {**config, "do_lower_case": not in_file})


def byte_level(folder: Path, **config: Any) -> None:
    """A RoBERTa as `vocab.json` and `merges.txt`."""
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *bytes_to_unicode().values(), "Ġt", "Ġth", "Ġthe", "<mask>"]
    write_json(folder / "config.json", {"model_type": "roberta"})
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "RobertaTokenizer", **config})
    write_json(folder / "vocab.json", {token: place for place, token in enumerate(tokens)})
    (folder / "merges.txt").write_text("#version: 0.2\nĠ t\nĠt h\nĠth e\n", encoding="utf-8")


def sentencepiece(folder: Path) -> None:
    """An XLM-R as its `sentencepiece.bpe.model` alone."""
    from sentencepiece import sentencepiece_model_pb2 as protocol

    model = protocol.ModelProto()
    pieces = ["▁the", "▁soup", "▁", *string.ascii_letters, "é", "s▁"]
    for piece, kind in [("<unk>", 2), ("<s>", 3), ("</s>", 3), *((piece, 1) for piece in pieces)]:
        model.pieces.add(piece=piece, score=-float(len(model.pieces)), type=kind)
    model.trainer_spec.model_type, model.trainer_spec.unk_id = 1, 0
    write_json(folder / "config.json", {"model_type": "xlm-roberta"})
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer"})
    (folder / "sentencepiece.bpe.model").write_bytes(model.SerializeToString())


def own(folder: Path, change: Callable[[Tokenizer], None] = lambda tokenizer: None, **names: Any) -> None:
    """Somebody's own, saved as `tokenizer.json`."""
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(WORDPIECES)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    pair = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=pair)
    change(tokenizer)
    known = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **{**known, **names}).save_pretrained(str(folder))
    write_json(folder / "config.json", {"model_type": "bert"})


def settings_of_a_server(tokenizer: Tokenizer) -> None:
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=9, pad_id=0, pad_token="[PAD]")


def added_tokens(tokenizer: Tokenizer) -> None:
    tokenizer.add_tokens([AddedToken("soup du jour", lstrip=True), AddedToken("Go", single_word=True)])


def no_special_tokens(tokenizer: Tokenizer) -> None:
    tokenizer.post_processor = None


def ids_of_transformers(folder: Path, texts: list[str]) -> list[list[int]]:
    reader = AutoTokenizer.from_pretrained(str(folder))
    found = reader(texts, truncation=True, max_length=LONGEST)["input_ids"]
    return [list(ids) for ids in found]


WRITERS: dict[str, Callable[[Path], None]] = {
    "a vocabulary alone": vocabulary_alone,
    "a vocabulary of capitals": lambda folder: vocabulary_alone(folder, do_lower_case=False),
    "accents kept": lambda folder: vocabulary_alone(folder, do_lower_case=True, strip_accents=False),
    "no config": no_config,
    "a cased DistilBERT": distilbert,
    "the config says lower case": lambda folder: config_disagrees(folder, in_file=False),
    "the file says lower case": lambda folder: config_disagrees(folder, in_file=True),
    "merges": byte_level,
    "merges with a prefix space": lambda folder: byte_level(folder, add_prefix_space=True),
    "sentencepiece": sentencepiece,
    "own": own,
    "padding and truncation in the file": lambda folder: own(folder, settings_of_a_server),
    "the end of a text stays": lambda folder: own(folder, truncation_side="left", padding_side="left"),
    "added tokens": lambda folder: own(folder, added_tokens),
    "no pad token": lambda folder: own(folder, pad_token=None),
}


@pytest.mark.parametrize("name", list(WRITERS))
def test_the_deployed_file_reads_every_text_as_transformers_does(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / "model")
    found = open_tokenization(tmp_path / "model", longest=LONGEST, rows=1000)
    expected = ids_of_transformers(tmp_path / "model", [*TEXTS, *HARD_TEXTS])
    assert [ids.tolist() for ids in found([*TEXTS, *HARD_TEXTS])] == expected
    assert max(map(len, expected)) == LONGEST
    (tmp_path / "export").mkdir()
    write_json(tmp_path / "export" / "config.json", json.loads((tmp_path / "model" / "config.json").read_text()))
    found.files.write(tmp_path / "export")
    deployed = TextTokenizer.read(tmp_path / "export", longest=LONGEST, pad=found.files.pad)
    assert [ids.tolist() for ids in deployed([*TEXTS, *HARD_TEXTS])] == expected
    plain = Tokenizer.from_file(str(tmp_path / "export" / "tokenizer.json"))
    assert [text.ids for text in plain.encode_batch([*TEXTS, *HARD_TEXTS])] == expected, "the file alone says it all"
    assert ids_of_transformers(tmp_path / "export", [*TEXTS, *HARD_TEXTS]) == expected


def test_ids_are_those_of_the_vocabulary(tmp_path: Path) -> None:
    vocabulary_alone(tmp_path)
    the, soup, cafe = (WORDPIECES.index(word) for word in ("the", "soup", "cafe"))
    found = open_tokenization(tmp_path, longest=LONGEST)(["The SOUP", "café [MASK]", ""])
    assert [ids.tolist() for ids in found] == [[2, the, soup, 3], [2, cafe, 4, 3], [2, 3]]


def test_a_text_without_a_token_is_read_as_padding(tmp_path: Path) -> None:
    own(tmp_path, no_special_tokens)
    found = open_tokenization(tmp_path, longest=LONGEST)
    assert [ids.tolist() for ids in found(["", "the"])] == [[0], [5]]


def test_a_special_token_without_a_row_is_read_as_plain_text(tmp_path: Path) -> None:
    """transformers adds `[MASK]` to a vocabulary that lacks it, with a number that the model has no row for."""
    tokens = [token for token in WORDPIECES if token != "[MASK]"]
    vocabulary_alone(tmp_path, tokens)
    found = open_tokenization(tmp_path, longest=LONGEST, rows=len(tokens))
    assert max(ids.max() for ids in found.reader(["we saw [MASK] here", *HARD_TEXTS])) < len(tokens)
    assert "mask_token" not in found.files.config
    with pytest.raises(SpecError, match=f"writes token {len(tokens)}, but the model knows {len(tokens)} only"):
        found(["we saw [MASK] here"])


def only_config(folder: Path) -> None:
    write_json(folder / "config.json", {"model_type": "bert"})


def without_merges(folder: Path) -> None:
    byte_level(folder)
    (folder / "merges.txt").unlink()


def not_json(folder: Path) -> None:
    own(folder)
    (folder / "tokenizer.json").write_text("version https://git-lfs.example/spec/v1")


def in_python_alone(folder: Path) -> None:
    write_json(folder / "config.json", {"model_type": "roberta"})
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertweetTokenizer"})
    (folder / "vocab.txt").write_text("the 5\nsoup 4\n")
    (folder / "bpe.codes").write_text("t h 5\nth e</w> 4\n")


def of_another_model(folder: Path) -> None:
    own(folder)
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *reversed(WORDPIECES[5:])]), encoding="utf-8")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (only_config, r"no tokenizer: neither tokenizer\.json nor vocab\.txt"),
        (without_merges, r"cannot be loaded: .+; found vocab\.json; put tokenizer\.json there"),
        (not_json, r"its tokenizer cannot be loaded: .+; found tokenizer\.json; put"),
        (in_python_alone, "BertweetTokenizer exists in Python alone and cannot be written"),
        (of_another_model, r"tokenizer\.json and vocab\.txt are not of one model: \d+ of 133 tokens"),
        (lambda f: own(f, split_special_tokens=True), "could not be deployed; save the tokenizer anew"),
        (
            lambda f: vocabulary_alone(f, [*WORDPIECES, *map(str, range(10, 900))]),
            "vocabulary of 1023 tokens, .* 900 only",
        ),
    ],
)
def test_a_tokenizer_that_cannot_be_deployed_is_refused(
    write: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    write(tmp_path)
    with pytest.raises(SpecError, match=message):
        open_tokenization(tmp_path, longest=LONGEST, rows=900)


def test_texts_have_room_for_more_than_special_tokens(tmp_path: Path) -> None:
    own(tmp_path)
    with pytest.raises(SpecError, match=r"task\.max_length: must be > 2, the special tokens of every text, got 2"):
        open_tokenization(tmp_path, longest=2)


def test_chance_is_left_out(tmp_path: Path) -> None:
    byte_level(tmp_path)
    AutoTokenizer.from_pretrained(str(tmp_path)).save_pretrained(str(tmp_path))
    tree = json.loads((tmp_path / "tokenizer.json").read_text())
    tree["model"]["dropout"] = 0.5
    write_json(tmp_path / "tokenizer.json", tree)
    write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    reader = open_tokenization(tmp_path, longest=LONGEST).reader
    assert len({tuple(ids.tolist()) for ids in reader([" the the the"] * 20)}) == 1


@pytest.fixture
def found(tmp_path: Path) -> Tokenization:
    vocabulary_alone(tmp_path, do_lower_case=False)
    return open_tokenization(tmp_path, longest=LONGEST)


@pytest.mark.parametrize(
    "texts", [["WIR SAHEN", "DIE SUPPE"], ["мы видели суп", "我们看见了汤"], ["\u200b", "\ufeff\x07"]]
)
def test_texts_that_are_nearly_all_unknown_are_refused(texts: list[str], found: Tokenization) -> None:
    upper = [text for text in found.original.get_vocab() if text.isupper() and len(text) == 1]
    assert upper, "single capitals are known, words of them are not"
    with pytest.raises(SpecError, match=r"texts\.csv: 2 of 2 texts \(100%\) are mostly tokens .* does not know; is .*"):
        found.readable(found(texts), "texts.csv")


def test_few_unknown_texts_are_told_and_none_are_not(found: Tokenization) -> None:
    half = found(["we saw the soup", "мы видели суп"] * 5)
    assert found.readable(half, "x") == ("5 of 10 texts (50%) are mostly tokens that the tokenizer does not know",)
    assert found.readable(found(["we saw the суп"] * 5), "x") == ()
    assert found.readable(found([]), "x") == ()


def test_what_is_no_text_is_named(found: Tokenization) -> None:
    nothing: Any = None
    with pytest.raises(SpecError, match="text 1: must be a str, got NoneType 'None'"):
        found.reader(["the", nothing])
    with pytest.raises(SpecError, match="text 0: holds '.ud800', half a character"):
        found.reader(["the \ud800"])


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(IntegrityError, match=r"tokenizer\.json: no tokenizer can be read from it"):
        TextTokenizer.read(tmp_path, longest=LONGEST, pad=0)


def test_words_are_those_that_people_write(found: Tokenization) -> None:
    ids = found.reader(["we saw [MASK]"])[0]
    assert found.reader.words(ids) == ("[CLS]", "we", "saw", "[MASK]", "[SEP]")
    assert found.reader.whole("we " * 40) == [2, *[WORDPIECES.index("we")] * 40, 3]
    assert np.array_equal(found.reader(["we " * 40])[0], [2, *[WORDPIECES.index("we")] * (LONGEST - 2), 3])
