"""The text as token ids: read from three files once, then from a small cache."""

import hashlib
import io
import os
from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from asynctune.exceptions import UsageError
from asynctune.files import replaced_atomically

Tokens = NDArray[np.uint16]

PARTS: Final = ("train", "valid", "test")
UNKNOWN: Final = "<unk>"
END: Final = "<eos>"
_MOST_WORDS: Final = 2**16  # what an id of 16 bits can name


class Text(NamedTuple):
    """A text of three parts, as ids.

    Attributes:
        train: Ids of the tokens that are trained on.
        valid: Ids of the tokens that are validated on.
        test: Ids of those that nobody looks at.
        n_words: Size of the vocabulary.
    """

    train: Tokens
    valid: Tokens
    test: Tokens
    n_words: int

    def shortened(self, train_tokens: int | None, valid_tokens: int | None) -> "Text":
        """Return the text with only the first tokens of two parts; None keeps all."""
        for name, wanted in (("train_tokens", train_tokens), ("valid_tokens", valid_tokens)):
            if wanted is not None and wanted < 2:
                raise UsageError(f"{name} must be at least 2; got {wanted}")
        return self._replace(train=self.train[:train_tokens], valid=self.valid[:valid_tokens])


def load(data: Path, cache: Path | None = None, vocabulary: int | None = None) -> Text:
    """Return the text of a folder.

    The first call tokenises it and leaves a cache of two bytes a token, which trials share;
    several of them may do so at once. A folder that holds only such a cache will do, too.

    Args:
        data: Folder with `train.txt`, `valid.txt` and `test.txt`.
        cache: Folder of the cache; by default `data` itself, or, where that cannot be written
            to, the user's cache folder.
        vocabulary: How many words to keep, the most frequent ones; the others become
            `<unk>`. By default all.

    Raises:
        UsageError: If the folder has neither the files nor a cache, or the vocabulary is
            too small or too large.
    """
    if vocabulary is not None and vocabulary < 2:
        raise UsageError(f"vocabulary must be at least 2; got {vocabulary}")
    name = f"tokens-{'all' if vocabulary is None else vocabulary}.npz"
    missing = [f"{part}.txt" for part in PARTS if not (data / f"{part}.txt").is_file()]
    if missing:
        text = _read_cache((cache or data) / name, None) or _read_cache(data / name, None)
        if text is None:
            raise UsageError(
                f"--data must be a folder with train.txt, valid.txt and test.txt (WikiText-2 at "
                f"word level; the flag --download of train and of collect fetches it); {data} "
                f"lacks {', '.join(missing)}"
            )
        return text
    raw = {part: (data / f"{part}.txt").read_bytes() for part in PARTS}
    digest = hashlib.sha256(b"".join(len(r).to_bytes(8) + r for r in raw.values())).hexdigest()
    folders = [cache] if cache is not None else [data, user_cache(digest)]
    for folder in folders:
        if (text := _read_cache(folder / name, digest)) is not None:
            return text
    text = tokenise({part: r.decode("utf-8") for part, r in raw.items()}, vocabulary)
    for folder in folders:
        try:
            _write_cache(folder / name, text, digest)
        except OSError:
            continue
        break
    return text


def user_cache(digest: str) -> Path:
    """Return the folder for what is made of one text and can be made again."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "asynctune" / digest[:16]


def tokenise(parts: dict[str, str], vocabulary: int | None = None) -> Text:
    """Return the ids of the words between blanks, and of an `<eos>` after each line.

    Ids are given in the order in which words first occur in train, valid and test.

    Args:
        parts: The text of each of `PARTS`.
        vocabulary: As for `load`.

    Raises:
        UsageError: If the vocabulary does not fit 16 bits.
    """
    words = {part: _words(text) for part, text in parts.items()}
    counts = Counter(word for part in PARTS for word in words[part])
    if vocabulary is not None and vocabulary < len(counts):
        counts[UNKNOWN] = sum(counts.values())  # is always kept
        kept = {word for word, _ in counts.most_common(vocabulary)}
        words = {
            part: [word if word in kept else UNKNOWN for word in those]
            for part, those in words.items()
        }
    ids: dict[str, int] = {}
    for part in PARTS:
        for word in words[part]:
            ids.setdefault(word, len(ids))
    if len(ids) > _MOST_WORDS:
        raise UsageError(f"a vocabulary must have at most {_MOST_WORDS} words; got {len(ids)}")
    train, valid, test = (
        np.array([ids[word] for word in words[part]], dtype=np.uint16) for part in PARTS
    )
    return Text(train, valid, test, len(ids))


def _words(text: str) -> list[str]:
    # Lines end at line feeds alone: other separators occur inside the text.
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [word for line in lines for word in (*line.split(), END)]


def _read_cache(path: Path, digest: str | None) -> Text | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            if digest is not None and str(stored["digest"]) != digest:
                return None
            train, valid, test = (stored[part] for part in PARTS)
            return Text(train, valid, test, int(stored["n_words"]))
    except (OSError, KeyError, ValueError, BadZipFile):
        return None  # there is none, or it is of an older make: the text is there to tell


def _write_cache(path: Path, text: Text, digest: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    arrays = {part: getattr(text, part) for part in PARTS}
    np.savez_compressed(buffer, **arrays, n_words=np.array(text.n_words), digest=np.array(digest))
    with replaced_atomically(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
