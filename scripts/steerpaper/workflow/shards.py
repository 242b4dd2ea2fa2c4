"""How finished work was split: another number of shards makes nothing anew."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steerpaper.workflow.records import record_of


def shards_there(study: Path, template: str, wanted: int, settings: Mapping[str, Any]) -> int:
    """Into how many shards work is, or is to be, split.

    No result depends on the number. So shards that are all there, made with the same settings, are
    kept as they were cut; to cut them anew, remove them.

    Args:
        study: its folder of results.
        template: a shard's path with {shard} and {shards}.
        wanted: the configuration's number.
        settings: of the rule that makes a shard.
    """
    name = Path(template).name
    pattern = re.escape(name).replace(r"\{shard\}", "([0-9]+)").replace(r"\{shards\}", "([0-9]+)")
    there: dict[int, set[int]] = {}
    for path in Path(template).parent.glob("*"):
        if match := re.fullmatch(pattern, path.name):
            there.setdefault(int(match[2]), set()).add(int(match[1]))
    told = json.loads(json.dumps(settings))

    def is_kept(shards: int) -> bool:
        paths = [template.format(shard=shard, shards=shards) for shard in range(shards)]
        records = [record_of(study, path) for path in paths]
        return all(record is not None and record["settings"] == told for record in records)

    complete = [n for n, found in there.items() if found == set(range(n)) and is_kept(n)]
    return wanted if wanted in complete or not complete else min(complete)
