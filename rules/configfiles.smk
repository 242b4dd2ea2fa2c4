"""Where the library is; configuration files are looked at before Snakemake takes what they say."""

import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# where this file is: used as a module, workflow.basedir is the outer workflow's folder
WORKFLOW = Path(str(workflow.current_basedir)).parent
SCRIPTS = WORKFLOW / "scripts"
if not SCRIPTS.is_dir():
    raise WorkflowError(
        f"{WORKFLOW} is not a folder on this machine; steerpaper reads its scripts and data from "
        "disk: clone it and name the clone's Snakefile"
    )
sys.path.insert(0, str(SCRIPTS))

from steerpaper.errors import UserError
from steerpaper.workflow.config import check_file

# a module's configuration comes from the outer workflow, whose files are its own affair
if Path(str(workflow.basedir)) == WORKFLOW:
    for path in ["config.yaml", *map(str, workflow.configfiles)]:
        try:
            if os.path.exists(path):
                check_file(path)
        except UserError as error:
            raise WorkflowError(str(error))
