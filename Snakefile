# Long Range Arena: data -> train -> evaluate -> tables and figures, with profiles and spans beside.
#   snakemake --cores all                                    the experiment `quick`
#   snakemake --cores all --configfile config/paper.yaml     the replication
import gc
import logging
import shlex
import signal
import sys
from pathlib import Path

from snakemake.settings.types import DeploymentMethod
from snakemake.utils import min_version

# Earlier ones lack snakemake.scheduling. Only the version in envs/requirements.txt is tested.
min_version("9.10")

# Jobs run the code of this checkout, and fingerprints read it, wherever the environment was made.
ROOT = Path(workflow.basedir)
SOURCE = ROOT / "src"
if {*"{}"} & {*str(ROOT)}:
    raise SystemExit(f"lra: {ROOT}: Snakemake takes braces for wildcards; rename it")
sys.path.insert(0, str(SOURCE))
# A plan makes a million objects that all stay. Garbage collection would take a tenth of its time.
gc.set_threshold(100_000, 20, 100)
# Lines of a log that nobody can read any more are no faults: a plan ends there (`snakemake -n | head`),
# a run goes on, also where the disk of its log is full.
logging.raiseExceptions = False
if workflow.output_settings.dryrun:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


# An experiment is one whole file. Without --configfile it is config/config.yaml or, in a folder that
# `lra restore` made, config/archived.yaml.
if not workflow.configfiles:
    own = ROOT / "config/archived.yaml"

    configfile: own if own.exists() else ROOT / "config/config.yaml"


include: "workflow/rules/common.smk"


environment.do_without()


# The mirror is no param of a rule: where a download came from changes no result. The prefix replaces
# Snakemake's own, so it sets pipefail again: else a failed stage has the exit status of its tee.
# A scheduler signals every process of a job. The traps keep its shell and its tee alive until the
# training has saved its state. With --sdm conda, Python is that of the activated environment.
# Code is named by its folder and not by PYTHONPATH, in which no path may hold a colon. `lra` is a
# process of the fork server (src/lra/core/fork_server.py) where the run has one.
CONDA = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
PYTHON = "python" if CONDA else shlex.quote(sys.executable)
LRA, FORK_CLIENT = (shlex.quote(str(path)) for path in (SOURCE, fork_server.CLIENT))
PREFIX = (
    f"set -euo pipefail; {environment.shell_lines(ROOT)}"
    f'lra() {{ if [ "${{LRA_FORK_SERVER:-}}" ] && [ "${{OMP_NUM_THREADS:-}}" = 1 ]; then '
    f'{PYTHON} -IS {FORK_CLIENT} "$LRA_FORK_SERVER" {LRA} "$@"; '
    f'else {PYTHON} {LRA} "$@"; fi; }}; '
    f'snakemake() {{ {PYTHON} -m snakemake "$@"; }}; '
    f"export LRA_DATA_MIRROR={shlex.quote(EXPERIMENT.data_mirror or '')}; "
    "trap : TERM INT USR1; tee() { trap '' TERM INT USR1; command tee \"$@\"; }; "
)
shell.prefix(PREFIX.replace("{", "{{").replace("}", "}}"))
if not workflow.is_main_process:
    # this is the snakemake inside a cluster job
    from lra.planning import slurm

    slurm.pass_on()


include: "workflow/rules/resources.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/profile.smk"
include: "workflow/rules/decode.smk"
include: "workflow/rules/span.smk"
include: "workflow/rules/generate.smk"
include: "workflow/rules/baseline.smk"
include: "workflow/rules/aggregate.smk"
include: "workflow/rules/run.smk"


report: f"workflow/report/{'tokens' if TOKENS else 'workflow'}.rst"


rule all:
    """Every table and figure of the experiment, their page, and all that an archive needs besides."""
    default_target: True
    input:
        rules.data.input,
        rules.span.input,
        rules.tables.input,
        rules.figures.input,
        in_results(layout.PAGE),
        records(),


include: "workflow/rules/report.smk"
include: "workflow/rules/archive.smk"
