"""The Free Spoken Digits (Jakobovski and others; CC-BY-SA-4.0) in folders that a study reads: recordings of ten digits
by six speakers at 8,000 samples a second, `DIGIT_SPEAKER_INDEX.wav`, of which those of index 0 to 4 are the official
test.

    python studies/benchmarks/spoken_digits.py fsdd-recordings.zip studies/data/spoken-digits

The archive is the folder `recordings` of the repository free-spoken-digit-dataset, zipped.
"""

from __future__ import annotations

import argparse
import re
import zipfile
from pathlib import Path
from typing import Final

NAME: Final = re.compile(r"(?P<digit>\d)_(?P<speaker>\w+)_(?P<index>\d+)\.wav")
TESTED: Final = 5
"""Recordings of each digit by each speaker that are kept for the test."""
WORDS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def place_of(name: str) -> Path:
    """`test/seven/7_george_3.wav`. Raises ValueError for another name."""
    found = NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"{name}: is called otherwise than DIGIT_SPEAKER_INDEX.wav")
    part = "test" if int(found["index"]) < TESTED else "train"
    return Path(part) / WORDS[int(found["digit"])] / name


def main() -> None:
    parser = argparse.ArgumentParser(description="Puts the Free Spoken Digits into folders of classes.")
    parser.add_argument("archive", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    count = 0
    with zipfile.ZipFile(given.archive) as archive:
        for one in archive.infolist():
            if one.is_dir() or not one.filename.endswith(".wav"):
                continue
            place = given.folder / place_of(Path(one.filename).name)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(archive.read(one))
            count += 1
    print(f"{given.folder}: {count} recordings")


if __name__ == "__main__":
    main()
