"""Provenance as an RO-Crate, for tools that read such records."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


def described(made: Mapping[str, Any], citation: Path) -> dict[str, Any]:
    """The metadata of an RO-Crate whose root is the folder that the study was made in.

    Args:
        made: provenance.json.
        citation: the workflow's CITATION.cff.

    Returns:
        JSON-LD: the root data set, every raw file, table and figure with its digest, the workflow,
        and the run that made these from those.
    """
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    about = yaml.safe_load(citation.read_text(encoding="utf-8"))
    crate = ROCrate()
    crate.name = f"{made['study']}: a study made with steerpaper"
    crate.description = "Tables and figures of a study of a language model, and what they are from"
    # not the time of the run: the same results have the same description
    crate.datePublished = str(about.get("date-released", "2000-01-01"))
    files = {
        path: crate.add_file(dest_path=path, properties={"sha256": digest})
        for path, digest in made["files"].items()
    }
    # as a part of another workflow, what is made lies in a folder of its own
    places = [f"{folder}/{made['study']}/" for folder in ("results", "figures")]
    results = {path for path in files if any(place in path for place in places)}
    workflow = crate.add(
        ContextEntity(
            crate,
            "#workflow",
            properties={
                "@type": ["SoftwareSourceCode", "ComputationalWorkflow"],
                "name": "steerpaper",
                "version": str(about.get("version", "")),
                "identifier": made["workflow"]["commit"] or "no commit",
                "programmingLanguage": "Snakemake",
            },
        )
    )
    model = crate.add(
        ContextEntity(
            crate,
            "#model",
            properties={
                "@type": "CreativeWork",
                "name": made["model"]["name"],
                "version": made["model"]["revision"],
            },
        )
    )
    crate.add(
        ContextEntity(
            crate,
            "#run",
            properties={
                "@type": "CreateAction",
                "name": f"seed {made['config']['seed']}",
                "instrument": {"@id": workflow.id},
                "object": [
                    {"@id": model.id},
                    *({"@id": files[path].id} for path in files if path not in results),
                ],
                "result": [{"@id": files[path].id} for path in sorted(results)],
            },
        )
    )
    found: dict[str, Any] = crate.metadata.generate()
    return found
