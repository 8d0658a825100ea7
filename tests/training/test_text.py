"""Text, cache and download; no torch is needed."""

import numpy as np
import pytest

from asynctune import UsageError
from sims.transformer_wikitext2.training.download import download
from sims.transformer_wikitext2.training.text import load, tokenise

PARTS = {"train": " a b a \n\n = c = \n", "valid": "b d\n", "test": "e a"}


def test_ids_follow_the_order_of_first_appearance():
    text = tokenise(PARTS)
    # a b a <eos> | <eos> | = c = <eos>
    assert text.train.tolist() == [0, 1, 0, 2, 2, 3, 4, 3, 2]
    assert text.valid.tolist() == [1, 5, 2]
    assert text.test.tolist() == [6, 0, 2]
    assert text.n_words == 7
    assert text.train.dtype == np.uint16


def test_a_small_vocabulary_keeps_the_most_frequent_words():
    text = tokenise(PARTS, vocabulary=4)  # <unk>, <eos>, a, and b rather than =, met later
    assert text.n_words == 4
    assert text.train.tolist() == [0, 1, 0, 2, 2, 3, 3, 3, 2]
    assert text.valid.tolist() == [1, 3, 2]


def test_separators_inside_a_line_do_not_end_it():
    assert tokenise({"train": "a\x85\x0bb\u2028c\n", "valid": "", "test": ""}).train.tolist() == [
        0,
        1,
        2,
        3,
    ]


def test_a_cache_is_used_and_follows_the_text(folder, tmp_path):
    first = load(folder, tmp_path)
    (cache,) = tmp_path.iterdir()
    stamp = cache.stat().st_mtime_ns
    assert all(np.array_equal(a, b) for a, b in zip(first, load(folder, tmp_path), strict=True))
    assert cache.stat().st_mtime_ns == stamp

    other = tmp_path / "other"
    other.mkdir()
    for part in ("train", "valid", "test"):
        (other / f"{part}.txt").write_text("x y\n")
    assert load(other, tmp_path).n_words == 3


def test_a_torn_cache_is_made_again(folder, tmp_path):
    first = load(folder, tmp_path)
    (cache,) = tmp_path.iterdir()
    cache.write_bytes(cache.read_bytes()[:100])
    assert np.array_equal(load(folder, tmp_path).train, first.train)


def test_a_folder_with_only_a_cache_will_do(folder, tmp_path):
    first = load(folder, tmp_path, vocabulary=20)
    again = load(tmp_path, vocabulary=20)
    assert np.array_equal(again.train, first.train)
    assert again.n_words == 20
    with pytest.raises(UsageError, match=r"train\.txt"):
        load(tmp_path, vocabulary=19)


def test_what_is_missing_is_named(tmp_path):
    (tmp_path / "train.txt").write_text("a")
    with pytest.raises(UsageError, match=r"lacks valid\.txt, test\.txt") as error:
        load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_text_can_be_shortened(folder, tmp_path):
    text = load(folder, tmp_path)
    short = text.shortened(100, 50)
    assert (len(short.train), len(short.valid)) == (100, 50)
    assert len(text.shortened(None, None).train) == len(text.train) > 100
    with pytest.raises(UsageError, match="train_tokens"):
        text.shortened(1, None)


def test_download_fetches_what_is_missing(folder, tmp_path):
    (tmp_path / "train.txt").write_text("mine\n")
    download(tmp_path, source=folder.as_uri())
    assert (tmp_path / "train.txt").read_text() == "mine\n"
    assert (tmp_path / "valid.txt").read_bytes() == (folder / "valid.txt").read_bytes()


def test_download_says_what_failed(tmp_path):
    with pytest.raises(UsageError, match=r"--download .*train\.txt"):
        download(tmp_path / "a", source=(tmp_path / "nowhere").as_uri())
    with pytest.raises(UsageError, match="https"):
        download(tmp_path / "a", source="ftp://example.org")
