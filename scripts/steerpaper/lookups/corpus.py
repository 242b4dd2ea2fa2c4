"""The corpus: raw texts as prompts of token ids, no two the same, train and test apart.

Neo et al. 2024 take 10,000 documents of a web corpus to find a neuron's prompts and as many to
test explanations on. By default the text is what every Python ships: real English, no download.
"""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from steerpaper.engine.text import plain_ids
from steerpaper.errors import UserError
from steerpaper.seeds import stream
from steerpaper.workflow.files import whole

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Raw:
    """A text and where it came from."""

    text: str
    source: str


class RawTexts(Protocol):
    """Texts by number, such as a list of them."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, index: int, /) -> Raw:
        """One of them."""


@dataclass(frozen=True)
class CorpusPrompt:
    """A corpus prompt.

    Attributes:
        id: unique in the study.
        text: what `ids` say, for people.
        source: where it came from.
        n_tokens: tokens before it was cut.
        cut: it was longer than allowed, and its end was cut off.
        ids: its token ids, without a beginning-of-sequence token; what every later step uses.
    """

    id: str
    text: str
    source: str
    n_tokens: int
    cut: bool
    ids: list[int]


def read_corpus(path: str | Path) -> Iterator[CorpusPrompt]:
    """Read a corpus file that this module wrote, one prompt after the other."""
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            yield CorpusPrompt(**json.loads(line))


def ids_of(paths: Iterable[str | Path], wanted: Iterable[str]) -> dict[str, list[int]]:
    """The token ids of some prompts of corpus files, by prompt id."""
    names = set(wanted)
    return {
        prompt.id: prompt.ids
        for path in paths
        for prompt in read_corpus(path)
        if prompt.id in names
    }


def count_prompts(path: str | Path) -> int:
    """Number of prompts in a corpus file."""
    with open(path, encoding="utf-8") as lines:
        return sum(1 for _ in lines)


def write_corpus(
    paths: Mapping[str, str | Path], prompts: Iterable[tuple[str, CorpusPrompt]]
) -> None:
    """Write (split, prompt) pairs to the splits' files as they come: all files appear, or none."""
    with ExitStack() as stack:
        parts = {split: stack.enter_context(whole(path)) for split, path in paths.items()}
        out = {
            split: stack.enter_context(open(part, "w", encoding="utf-8"))
            for split, part in parts.items()
        }
        for split, prompt in prompts:
            out[split].write(json.dumps(asdict(prompt), ensure_ascii=False) + "\n")


def choose_prompts(
    tokenizer: Any,
    raw: RawTexts,
    *,
    sizes: Mapping[str, int],
    max_tokens: int,
    seed: int,
    counts: Counter[str],
) -> Iterator[tuple[str, CorpusPrompt]]:
    """Draw disjoint train and test prompts by seed: tokenised, cut at the right, no two the same.

    A control token of the model that a text holds (web text quotes them) is encoded as the
    characters that it shows: it ends nothing.
    Two texts are the same if their token ids are, after cutting. Prompts come one after the other,
    and of those that came no more is held than a digest each.

    Args:
        sizes: number of prompts a split.
        max_tokens: tokens that a prompt may have.
        counts: filled on the way: texts, looked_at, empty (tokenised to nothing), duplicates, cut
            (among the chosen), and the chosen of every split.

    Yields:
        split and prompt, a whole split after the other.

    Raises:
        UserError: not enough different prompts.
    """
    counts.update({"texts": len(raw), "looked_at": 0, "empty": 0, "duplicates": 0, "cut": 0})
    different = _different(tokenizer, raw, max_tokens, seed, counts)
    for split, size in sizes.items():
        digits = max(5, len(str(size)))  # so that ids sort as numbers do
        for number in range(1, size + 1):
            prompt = next(different, None)
            if prompt is None:
                raise UserError(
                    f"lookups.corpus: {sum(sizes.values())} prompts are asked for ("
                    + ", ".join(f"{split}: {size}" for split, size in sizes.items())
                    + f"), but {len(raw)} texts give {sum(counts[split] for split in sizes)} "
                    f"({counts['empty']} tokenise to nothing, {counts['duplicates']} are "
                    "duplicates); ask for fewer or give more text"
                )
            counts[split] += 1
            yield split, replace(prompt, id=f"{split}-{number:0{digits}d}")


def _different(
    tokenizer: Any, raw: RawTexts, max_tokens: int, seed: int, counts: Counter[str]
) -> Iterator[CorpusPrompt]:
    """All different prompts in an order drawn by seed, without ids."""
    seen: set[bytes] = set()
    for index in stream(seed, "corpus", len(raw)).permutation(len(raw)):
        drawn = raw[int(index)]
        text = drawn.text.strip()
        counts["looked_at"] += 1
        full = plain_ids(tokenizer, text) if text else []
        ids = list(full[:max_tokens])
        if not ids:
            counts["empty"] += 1
            continue
        digest = hashlib.blake2b(array("q", ids).tobytes(), digest_size=16).digest()
        if digest in seen:
            counts["duplicates"] += 1
            continue
        seen.add(digest)
        cut = len(full) > len(ids)
        counts["cut"] += cut
        shown = tokenizer.decode(ids) if cut else text
        yield CorpusPrompt("", shown, drawn.source, len(full), cut, ids)
