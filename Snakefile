# The Long Range Arena: data -> train -> evaluate -> tables and figures, with profiles beside.
#   snakemake --cores all                                    the quick experiment
#   snakemake --cores all --configfile config/paper.yaml     the replication
import gc
import shlex
import sys
from pathlib import Path

from snakemake.settings.types import DeploymentMethod

# The code of this checkout is what jobs run and what fingerprints read, wherever the environment
# was made.
ROOT = Path(workflow.basedir)
SOURCE, BIN = ROOT / "src", Path(sys.executable).parent
sys.path.insert(0, str(SOURCE))
# A plan makes a million objects that all stay: looking for garbage among them takes a tenth of it.
gc.set_threshold(100_000, 20, 100)


# An experiment is one whole file: the default, in a restored folder its own, is merged into no other.
if not workflow.configfiles:
    own = ROOT / "config/archived.yaml"

    configfile: own if own.exists() else ROOT / "config/config.yaml"


include: "workflow/rules/common.smk"


# The mirror is no param of a rule, as where a download came from changes nothing. A prefix replaces
# Snakemake's own, and without pipefail a stage that fails would end with the status of its tee. A
# scheduler signals every process of a job: its shell and its tee stay until the training has saved
# its state. Under --sdm conda Python is the activated environment's.
CONDA = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
PYTHON = "python" if CONDA else shlex.quote(sys.executable)
shell.prefix(
    "set -euo pipefail; "
    + ("" if CONDA else f"export PATH={shlex.quote(str(BIN))}:$PATH; ")
    + f'lra() {{{{ {PYTHON} -m lra.cli "$@"; }}}}; '
    f"export PYTHONPATH={shlex.quote(str(SOURCE))}"
    f" LRA_DATA_MIRROR={shlex.quote(EXPERIMENT.data_mirror or '')};"
    " trap : TERM INT USR1; tee() {{ trap '' TERM INT USR1; command tee \"$@\"; }}; "
)
if not workflow.is_main_process:
    # the snakemake within a cluster's job
    from lra.planning import slurm

    slurm.pass_on()


include: "workflow/rules/gpu.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/profile.smk"
include: "workflow/rules/span.smk"
include: "workflow/rules/aggregate.smk"
include: "workflow/rules/estimate.smk"
include: "workflow/rules/run.smk"


report: "workflow/report/workflow.rst"


rule all:
    """Every table and figure of the experiment."""
    default_target: True
    input:
        rules.data.input,
        rules.span.input,
        rules.tables.input,
        rules.figures.input,


include: "workflow/rules/report.smk"
include: "workflow/rules/archive.smk"
