"""A real Slurm on this host: munged, slurmctld and two slurmd as nodes with two GPUs each.

The GPUs are character devices that do nothing (copies of /dev/null): Slurm counts them, gives each job
its own and sets CUDA_VISIBLE_DEVICES. No slurmdbd. Wants root and Debian's slurm-wlm and munge.

    python tests/cluster/slurm.py start FOLDER     and: stop FOLDER
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

NODES = ("n1", "n2")
GPUS = 2  # of each node
# the queue of one host may be asked more often than the profile asks that of a cluster
OFTEN = ["--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1"]
HANGS = 1800  # seconds; a busy machine is slow, and no test depends on its speed
# slurm.conf is looked for here by the executor's inner srun, which drops SLURM_CONF
SYSTEM = Path("/etc/slurm")
# Of cgroups, version 1, with which Slurm 22.05 limits memory without systemd; else it limits none.
CGROUPS = Path("/sys/fs/cgroup")
LIMITS = f"""\
CgroupPlugin=cgroup/v1
CgroupMountpoint={CGROUPS}
ConstrainRAMSpace=yes
ConstrainSwapSpace=yes
AllowedSwapSpace=0
"""
FILES = ("slurm.conf", "gres.conf", "cgroup.conf")
CONFIGURATION = """\
ClusterName=lra
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={run}/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/{tracked}
TaskPlugin=task/{tasks}
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/linux
AccountingStorageType=accounting_storage/none
ReturnToService=2
SlurmdParameters=config_overrides
SlurmctldPidFile={run}/slurmctld.pid
SlurmdPidFile={run}/%n.pid
SlurmdSpoolDir={state}/%n
StateSaveLocation={state}/slurmctld
SlurmctldLogFile={log}/slurmctld.log
SlurmdLogFile={log}/%n.log
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2,sched_min_interval=0,batch_sched_delay=0
SlurmctldTimeout=30
SlurmdTimeout=60
KillWait=10
Waittime=0
OverTimeLimit=0
MinJobAge=3600
MaxJobCount=20000
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
PartitionName=cpu Nodes=ALL Default=YES MaxTime=1-0 DefaultTime=10 State=UP PriorityTier=1
PartitionName=gpu Nodes=ALL MaxTime=1-0 DefaultTime=10 State=UP PriorityTier=1
PartitionName=high Nodes=ALL MaxTime=1-0 DefaultTime=10 State=UP PriorityTier=10 PreemptMode=OFF
"""
# more CPUs than a small host has, so that several jobs fit
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=8 Sockets=1 "
    "CoresPerSocket=8 ThreadsPerCore=1 RealMemory=8000 Gres=gpu:{gpus} State=UNKNOWN\n"
)


def missing() -> str | None:
    """Why no Slurm can be started here; None: it can."""
    for program in ("munged", "slurmctld", "slurmd", "sbatch"):
        if not shutil.which(program):
            return f"{program} is not installed (Debian: slurm-wlm, munge)"
    if os.geteuid() != 0:
        return "starting Slurm's daemons wants root"
    for file in FILES:
        path = SYSTEM / file
        if path.exists() and not path.is_symlink():
            return f"{path} belongs to another Slurm"
    return None


def limits_memory() -> bool:
    """Whether a job that takes more memory than it asked for is killed by the kernel."""
    return all((CGROUPS / name).is_dir() and os.access(CGROUPS / name, os.W_OK)
               for name in ("memory", "freezer"))  # fmt: skip


class Cluster:
    """Daemons whose files are all below `folder`; start() and stop() may be called again."""

    def __init__(self, folder: Path) -> None:
        self.etc, self.run, self.log, self.state = (
            folder / name for name in ("etc", "run", "log", "state")
        )

    def start(self) -> None:
        self.configure()
        if not self.pid("munged"):
            munge = ["munged", "--force", f"--key-file={self.etc}/munge.key",
                     f"--socket={self.run}/munge.socket", f"--pid-file={self.run}/munged.pid",
                     f"--log-file={self.log}/munged.log", f"--seed-file={self.state}/seed"]  # fmt: skip
            subprocess.run(munge, check=True)
        self.start_controller()
        for name in NODES:
            if not self.pid(name):
                subprocess.run(["slurmd", "-N", name], check=True)
        self.wait(self.ready)
        for name in NODES:  # a node drained before stays so over a restart
            if self.node_state(name).startswith(("drain", "down")):
                self.ask("scontrol", "update", f"nodename={name}", "state=resume")
        self.wait(self.ready)

    def start_controller(self) -> None:
        if not self.pid("slurmctld"):
            subprocess.run(["slurmctld"], check=True)

    def stop(self) -> None:
        """By pid; what does not end by itself is killed. Cancels the jobs, which would outlive it."""
        if self.pid("slurmctld"):
            self.ask("scancel", f"--user={getpass.getuser()}", check=False)
        for name in (*NODES, "slurmctld", "munged"):
            for signum in (signal.SIGTERM, signal.SIGKILL):
                if pid := self.pid(name):
                    os.kill(pid, signum)
                    with suppress(AssertionError):
                        self.wait(lambda name=name: not self.pid(name), 20)
            (self.run / f"{name}.pid").unlink(missing_ok=True)
        for file in FILES:
            link = SYSTEM / file
            if link.is_symlink() and link.readlink() == self.etc / file:
                link.unlink()

    def kill_controller(self) -> None:
        os.kill(self.pid("slurmctld"), signal.SIGKILL)
        self.wait(lambda: not self.pid("slurmctld"))

    def configure(self) -> None:
        for folder in (self.etc, self.run, self.log, self.state, self.state / "dev", SYSTEM):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)
        for part in self.run.parents:  # munge's socket must be reachable
            if part.stat().st_mode & 0o011 != 0o011:
                part.chmod(part.stat().st_mode | 0o011)
        key = self.etc / "munge.key"
        if not key.exists():
            key.touch(0o600)
            key.write_bytes(os.urandom(1024))
            key.chmod(0o400)
        host = socket.gethostname().split(".")[0]
        tracked, tasks = ("cgroup", "cgroup") if limits_memory() else ("linuxproc", "none")
        text = CONFIGURATION.format(host=host, run=self.run, log=self.log, state=self.state,
                                    tracked=tracked, tasks=tasks)  # fmt: skip
        devices = ""
        for number, name in enumerate(NODES, 1):
            (self.state / name).mkdir(exist_ok=True)
            text += NODE.format(name=name, host=host, port=17000 + number, gpus=GPUS)
            files = f"{self.state}/dev/{name}gpu[0-{GPUS - 1}]"
            devices += f"NodeName={name} Name=gpu Count={GPUS} File={files}\n"
            for gpu in range(GPUS):
                device = self.state / f"dev/{name}gpu{gpu}"
                if not device.exists():  # without a file the node would be drained
                    os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        contents = (text, devices, LIMITS if limits_memory() else "CgroupPlugin=cgroup/v1\n")
        for file, content in zip(FILES, contents, strict=True):
            (self.etc / file).write_text(content)
            link = SYSTEM / file
            link.unlink(missing_ok=True)
            link.symlink_to(self.etc / file)

    def pid(self, daemon: str) -> int | None:
        """Of a living daemon; a zombie, which pid 1 of a container may not reap, is none."""
        try:
            pid = int((self.run / f"{daemon}.pid").read_text())
            status = Path(f"/proc/{pid}/status").read_text()
        except (OSError, ValueError):
            return None
        return None if "State:\tZ" in status or "State:\tX" in status else pid

    def ready(self) -> bool:
        states = [self.node_state(name) for name in NODES]
        return all(states) and not any("*" in state or "unk" in state for state in states)

    def node_state(self, name: str) -> str:
        lines = self.ask("sinfo", "--noheader", "--nodes", name, "--format=%t", check=False)
        return lines.split("\n")[0].strip()

    def jobs(self, *states: str) -> dict[str, str]:
        """Id -> comment (rule and wildcards) of the jobs in these states."""
        wanted = f"--states={','.join(states)}" if states else "--states=all"
        lines = self.ask("squeue", "--noheader", wanted, "--format=%i|%k").splitlines()
        return dict(line.split("|", 1) for line in lines)

    def show(self, job: str) -> dict[str, str]:
        """What `scontrol show job` says."""
        words = self.ask("scontrol", "--oneliner", "show", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def ask(self, *command: str, check: bool = True) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def wait(self, condition, seconds: float = HANGS) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited {seconds} s in vain\n{self.tails()}"
            time.sleep(0.1)

    def tails(self) -> str:
        """The ends of the daemons' logs."""
        logs = [path for path in self.log.glob("*.log") if path.stat().st_size]
        return "\n".join(f"{path}:\n{path.read_text()[-1500:]}" for path in logs)


if __name__ == "__main__":
    verb, folder = sys.argv[1:]
    if reason := missing():
        raise SystemExit(reason)
    getattr(Cluster(Path(folder).resolve()), {"start": "start", "stop": "stop"}[verb])()
