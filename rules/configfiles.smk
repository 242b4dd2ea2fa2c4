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
from steerpaper.workflow import garbage
from steerpaper.workflow.config import bases_of, check_file

garbage.seldom()

# the files that those given by --configfile extend: they stand between config.yaml and these
BASES = []
# a module's configuration comes from the outer workflow, whose files are its own affair
if Path(str(workflow.basedir)) == WORKFLOW:
    try:
        if os.path.exists("config.yaml") and "extends" in check_file("config.yaml"):
            raise UserError(
                "config.yaml: extends: is for a file that is given by --configfile; give it so"
            )
        for path in workflow.configfiles:
            if os.path.exists(path):
                BASES += map(str, bases_of(path))
    except UserError as error:
        raise WorkflowError(str(error))
