#!/usr/bin/env bash
# A Slurm of one node on loopback, for tests: no root, no munge, no systemd, nothing outside the folder.
#
#   cluster.sh start FOLDER [PORT]    controller on PORT, node daemon on PORT + 1; returns when the node is idle
#   cluster.sh stop FOLDER            ends the two daemons
#
# Jobs find it through FOLDER/env, to be sourced. Needs Debian's slurmctld, slurmd and slurm-client (22.05 or later).
set -euo pipefail
action=$1 folder=$2 port=${3:-16817}

configure() {
    local host user memory
    host=$(hostname -s) user=$(id -un)
    memory=$(awk '/^MemTotal/ {print int($2 / 1024) - 512}' /proc/meminfo)
    mkdir -p "$folder"/{state,spool,bin}
    cat >"$folder/slurm.conf" <<EOF
ClusterName=tracedlm
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
MinJobAge=86400
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(getconf _NPROCESSORS_ONLN) RealMemory=$memory Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
EOF
    echo "NodeName=$host Name=gpu File=/dev/null" >"$folder/gres.conf"
    # Slurm's executor plugin starts a job's step without any SLURM_* variable, so that srun would look for /etc/slurm/slurm.conf.
    printf '#!/bin/sh\nSLURM_CONF=%s exec %s "$@"\n' "$folder/slurm.conf" "$(command -v srun)" >"$folder/bin/srun"
    chmod +x "$folder/bin/srun"
    printf 'export SLURM_CONF=%s PATH=%s:"$PATH"\n' "$folder/slurm.conf" "$folder/bin" >"$folder/env"
}

start() {
    configure
    export SLURM_CONF=$folder/slurm.conf
    slurmctld
    slurmd
    for _ in $(seq 120); do
        if [[ $(sinfo --noheader --format=%T 2>/dev/null) == idle ]]; then return; fi
        sleep 0.5
    done
    tail -n 20 "$folder"/slurm{ctld,d}.log >&2
    echo "the node did not become idle within 60 s" >&2
    return 1
}

stop() {
    local daemon
    for daemon in slurmd slurmctld; do
        if [[ -s $folder/$daemon.pid ]]; then kill "$(<"$folder/$daemon.pid")" || true; fi
    done
}

PATH=$PATH:/usr/sbin:/sbin
"$action"
