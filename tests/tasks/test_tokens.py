"""Token classification: words are told by their first token, spans are scored as seqeval scores them, and what fits
nothing is told or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, BertConfig, BertForTokenClassification, PreTrainedTokenizerFast, pipeline

from autocompress.core.data_spec import Asset, DataSpec, PartSpec, TaskSpec
from autocompress.core.scores import MetricSpec
from autocompress.deploy.answers import found_spans
from autocompress.distill import joined
from autocompress.errors import SpecError
from autocompress.inputs.examples import Batch, Examples
from autocompress.inputs.outputs import IGNORED
from autocompress.inputs.spans import meanings
from autocompress.inputs.tokenizer import TextTokenizer, TokenizerFiles
from autocompress.tasks.tag_metrics import of_tags
from autocompress.tasks.token_classification import TokenClassification
from tests.given_study import write_model
from tests.tasks.given import write_rows
from tests.tasks.test_spans import VALUES, tags_of

TAGS = ("B-food", "I-food", "O")


def task(metric: str = "span-f1", tags: tuple[str, ...] = TAGS) -> TokenClassification:
    return TokenClassification(metric, tags, {}, TokenizerFiles("{}", {}, longest=12, pad=0))


def rows(*tags: list[int]) -> Examples:
    """One token a word, with one before and one behind."""
    labels = np.full((len(tags), 2 + max(map(len, tags))), IGNORED)
    for place, row in enumerate(tags):
        labels[place, 1 : 1 + len(row)] = row
    tokens = tuple(np.ones(2 + len(row), np.int64) for row in tags)
    return Examples(tuple(("x",) * len(row) for row in tags), tokens, labels, 0)


def answering(examples: Examples, tags: int, *guessed: list[int]) -> np.ndarray:
    outputs = np.zeros((*examples.labels.shape, tags), np.float32)
    for place, row in enumerate(guessed):
        for word, tag in enumerate(row):
            outputs[place, 1 + word, tag] = 3
    return outputs


def test_the_score_is_seqevals() -> None:
    cases = [json.loads(line) for line in VALUES.read_text("utf-8").splitlines()]
    for case in cases:
        tags = tags_of(case["scheme"])
        true, guessed = ([[tags.index(tag) for tag in row] for row in case[name]] for name in ("true", "predicted"))
        examples = rows(*true)
        outputs, scored = answering(examples, len(tags), *guessed), task(tags=tuple(tags))
        score = scored.score(outputs, examples)
        assert score.value == pytest.approx(case["f1"], abs=1e-8)
        assert score.interval[0] <= score.value <= score.interval[1]
        assert scored.drop(outputs, outputs, examples).interval == (0, 0)
        assert scored.score(answering(examples, len(tags), *true), examples).value == float(
            any(tag != tags.index("O") for row in true for tag in row)
        )
    assert len(cases) == 60


def test_intervals_are_of_rows_and_drops_are_paired() -> None:
    generator = np.random.default_rng(0)
    true = [generator.integers(0, 3, 6).tolist() for _ in range(80)]
    worse = [[tag if generator.random() < 0.7 else 2 for tag in row] for row in true]
    worst = [[tag if generator.random() < 0.6 else 2 for tag in row] for row in worse]
    examples, (first, second) = rows(*true), (answering(rows(*true), 3, *one) for one in (worse, worst))
    for metric in ("span-f1", "accuracy"):
        scored = task(metric)
        score, other, drop = (
            scored.score(first, examples),
            scored.score(second, examples),
            scored.drop(second, first, examples),
        )
        assert drop.value == pytest.approx(score.value - other.value)
        apart = np.hypot(*(np.subtract(*one.interval) for one in (score, other)))
        assert 0 < drop.interval[0] < drop.value < drop.interval[1]
        assert drop.interval[1] - drop.interval[0] < apart, "what makes a row hard for both is taken out"
    shares = np.mean(
        [tag == guess for row, other in zip(true, worse, strict=True) for tag, guess in zip(row, other, strict=True)]
    )
    assert task("accuracy").score(first, examples).value == pytest.approx(shares)


def test_chance_is_the_tag_that_scores_best_everywhere() -> None:
    examples = rows([2, 2, 0, 2], [0, 1])
    assert task("accuracy").chance(examples) == pytest.approx(3 / 6)
    assert task().chance(examples) == pytest.approx(2 * 1 / (2 + 2)), "every word an I: a span a row"


def test_losses_are_of_first_tokens_alone() -> None:
    examples = rows([0, 1, 2], [2])
    batch = examples.batch(np.array([1]))
    assert batch.targets.shape == (1, 5), "as long as the longest of all"
    outputs = torch.randn(1, 3, 3, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.cross_entropy(outputs[:, 1], torch.tensor([2]))
    assert torch.isclose(task().loss(outputs, batch.targets), expected)
    other = outputs.clone()
    other[:, [0, 2]] += torch.randn(1, 2, 3)
    teacher = torch.nn.functional.pad(outputs, (0, 0, 0, 2))
    soft = task().soft_loss(other, teacher, Batch({}, batch.targets, batch.rows), temperature=2.0)
    assert soft == pytest.approx(0, abs=1e-6), "what no word begins with counts for nothing"
    taught = task().taught(answering(examples, 3, [1, 1, 1], [0]), examples)
    assert taught.tolist() == [[IGNORED, 1, 1, 1, IGNORED], [IGNORED, 0, IGNORED, IGNORED, IGNORED]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens") / "model"
    write_model(folder, head=False)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def loaded(folder: Path, model: Path, *found: dict[str, Any], **settings: Any) -> TokenClassification:
    path = folder / "rows.jsonl"
    write_rows(path, "token-classification", rows=40)
    with path.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in found)
    task = TaskSpec(DataSpec(Asset(path=str(path))), kind="token-classification", **{"max_length": 24, **settings})
    return TokenClassification.load(task, {"all": path}, model)


def test_words_are_read_as_transformers_reads_words(tmp_path: Path, model: Path) -> None:
    found, reader = loaded(tmp_path, model), AutoTokenizer.from_pretrained(str(model))
    for part in found.splits.values():
        for words, ids, labels in zip(part.texts, part.tokens, part.labels, strict=True):
            theirs = reader(list(words), is_split_into_words=True)
            assert theirs["input_ids"] == ids.tolist()
            numbers = theirs.word_ids()
            first = [n is not None and n not in numbers[:place] for place, n in enumerate(numbers)]
            assert (labels[: len(ids)] != IGNORED).tolist() == first


def test_texts_without_tags_are_lessons_beside_rows_of_words(tmp_path: Path, model: Path) -> None:
    found = loaded(tmp_path, model)
    spec = TaskSpec(kind="token-classification", max_length=24)
    others = TokenClassification.unlabelled(spec, ["we saw soup.", "\u200b", "bread " * 40], model)
    assert list(others.texts) == ["we saw soup.", "bread " * 40]
    assert (others.labels[0] == [IGNORED, 0, 0, 0, 0, *[IGNORED] * 19]).all()
    both = joined(found.splits["train"], others)
    assert both.labels.shape == (len(found.splits["train"]) + 2, 24)
    assert (both.labels[0] != IGNORED).sum() == len(both.texts[0])


def test_a_word_of_several_tokens_is_told_by_the_first(tmp_path: Path, model: Path) -> None:
    row = {"text": ["soup.salad", "the", "oven"], "label": ["B-food", "O", "B-food"]}
    found = loaded(tmp_path, model, row)
    (part,) = (one for one in found.splits.values() if ("soup.salad", "the", "oven") in one.texts)
    labels = part.labels[part.texts.index(("soup.salad", "the", "oven"))]
    told = [found.labels[tag] if tag != IGNORED else "" for tag in labels[:7]]
    assert told == ["", "B-food", "", "", "O", "B-food", ""]


def test_what_is_cut_off_and_what_is_nothing_to_the_tokenizer_is_told(tmp_path: Path, model: Path) -> None:
    long = {"text": ["bread"] * 30, "label": ["B-food", *["I-food"] * 29]}
    nothing = [
        {"text": ["we", "\u200b", "soup"], "label": ["O", "O", "B-food"]},
        {"text": ["\u200b"], "label": ["O"]},
    ]
    found = loaded(tmp_path, model, long, *nothing)
    told = " ".join(found.notes)
    assert "1 of 42 rows (2%) are longer than 24 tokens (task.max_length) and are cut there: 8 of" in told
    assert "2 of 307 words are nothing to the tokenizer, such as '\\u200b', and are left away with their tags" in told
    assert not any(words == ("\u200b",) for part in found.splits.values() for words in part.texts)
    assert loaded(tmp_path, model).notes == ()
    with pytest.raises(SpecError, match="of 300 of .* words the tokenizer of .* makes nothing, .* among them"):
        loaded(tmp_path, model, {"text": ["\u200b"] * 300, "label": ["O"] * 300})


def test_a_letter_may_be_new_to_the_held_out_rows_and_a_type_may_not(tmp_path: Path, model: Path) -> None:
    files = {name: tmp_path / f"{name}.jsonl" for name in ("train", "validation")}
    parts: dict[str, Any] = {name: PartSpec(Asset(path=str(path))) for name, path in files.items()}
    spec = TaskSpec(DataSpec(**parts), kind="token-classification", max_length=24)
    write_rows(files["train"], "token-classification", rows=40)
    for label, message in (
        ("E-food", ""),
        ("B-drink", r"tags \['B-drink'\] are unknown to the training rows, which know"),
    ):
        write_rows(files["validation"], "token-classification", rows=20, text=["soup", "7"], label=[label, "O"])
        if message:
            with pytest.raises(SpecError, match=message):
                TokenClassification.load(spec, files, model)
        else:
            assert label in TokenClassification.load(spec, files, model).labels


@pytest.mark.parametrize(
    ("tags", "metric", "message"),
    [
        (["NN", "VB"], "span-f1", r"2 of 2 tags make none \('NN', 'VB'\).*write `task\.metric: accuracy`"),
        (["O", "B-a", "a"], "span-f1", r"1 of 3 tags make none \('a'\)"),
        (["0", "1", "3"], "span-f1", "these are numbers without names: write the names into the data"),
        (["O", "B-a"], "mcc", r"task\.metric: mcc does not score tags"),
    ],
)
def test_spans_of_tags_that_make_none_are_refused(tags: list[str], metric: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        of_tags(MetricSpec(metric), tags)
    assert of_tags(MetricSpec("accuracy"), tags).meant


def test_spans_of_a_text_are_those_of_the_pipeline_of_transformers(tmp_path: Path) -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "ann", "##a", "went", "to", "den", "##ver", ",", ".", "col", "##o"]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    tags = ["O", "B-per", "I-per", "B-loc", "I-loc"]
    sizes = {"vocab_size": len(pieces), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(**sizes, intermediate_size=16, num_labels=5, id2label=dict(enumerate(tags)))
    reader, found = TextTokenizer(tokenizer, longest=40, pad=0), []
    for seed in range(4):
        torch.manual_seed(seed)
        model: Any = BertForTokenClassification(config).eval()
        with torch.no_grad():
            model.classifier.weight.normal_()
        pipe: Any = pipeline("token-classification", model=model, tokenizer=wrapped, aggregation_strategy="first")
        for text in ("Anna went to Denver, Colo.", "To Anna. Went, to  Colo den"):
            read = reader.by_word([text])
            with torch.inference_mode():
                logits = model(torch.tensor(read[0].ids)[None]).logits.numpy()
            (spans,) = found_spans(logits, {"tags": meanings(tags)}, read)
            theirs = [one for one in pipe(text) if one["entity_group"] != "O"]
            assert [(one.label, one.start, one.end) for one in spans] == [
                (one["entity_group"], one["start"], one["end"]) for one in theirs
            ]
            np.testing.assert_allclose([one.share for one in spans], [one["score"] for one in theirs], atol=1e-5)
            found += spans
    assert len(found) > 8
