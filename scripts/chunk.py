"""Do a part of the steering study for several behaviours with one loaded model."""

import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from steerpaper.workflow.job import Job, log, paths_of, recorded, run, write_note


def main_of(script: str) -> Callable[[Job[Any]], None]:
    """What a script of the steering study does for one behaviour."""
    path = Path(__file__).parent / "steering" / script
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    main: Callable[[Job[Any]], None] = module.main
    return main


def main(job: Job[Any]) -> None:
    from steerpaper.workflow.chunks import jobs_of, keep, logged_to, put_back
    from steerpaper.workflow.records import study_of

    main_of_one = main_of(job.how["chunk"]["script"])
    for one in jobs_of(job):
        behavior, study = one.wildcards["behavior"], study_of(one.log)
        assert study is not None
        if put_back(one):
            log.info("%s: was done before", behavior)
            continue
        log.info("%s", behavior)
        from steerpaper.engine.shared import share_model

        share_model()
        with logged_to(one.log):
            write_note(one)
            recorded(main_of_one, one)
        # whatever happens to the behaviours that follow
        keep(study, [path for value in one.output.values() for path in paths_of(value)])


def alone(main: Callable[[Job[Any]], None], job: Job[Any]) -> None:
    """Leave records to the behaviours' own jobs."""
    main(job)


if __name__ == "__main__":
    run(main, around=alone)
