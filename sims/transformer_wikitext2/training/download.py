"""Fetch WikiText-2 where there is a network."""

from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from asynctune.exceptions import UsageError
from asynctune.files import replaced_atomically
from sims.transformer_wikitext2.training.text import PARTS

SOURCE: Final = (
    "https://raw.githubusercontent.com/pytorch/examples/main/word_language_model/data/wikitext-2"
)


def download(folder: Path, source: str = SOURCE, timeout: float = 60.0) -> None:
    """Fetch the files that `folder` lacks.

    The text is from Wikipedia and licensed CC BY-SA 3.0 (Merity et al., 2016, "Pointer
    Sentinel Mixture Models").

    Args:
        folder: Made if it does not exist.
        source: Address of a folder that holds the three files.
        timeout: Seconds to wait for an answer.

    Raises:
        UsageError: If a file cannot be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        path = folder / f"{part}.txt"
        if path.is_file():
            continue
        address = f"{source.rstrip('/')}/{part}.txt"
        if not address.startswith(("https://", "file://")):
            raise UsageError(f"the source must be an https or file address; got {address}")
        try:
            with urlopen(address, timeout=timeout) as answer:  # noqa: S310 - checked above
                content = answer.read()
        except (URLError, TimeoutError) as error:
            raise UsageError(f"--download cannot fetch {address}: {error}") from error
        with replaced_atomically(path) as temporary:
            temporary.write_bytes(content)
