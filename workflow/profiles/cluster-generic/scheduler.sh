#!/bin/sh
# What Snakemake asks of PBS, LSF or Grid Engine; SCHEDULER is pbs, lsf or sge, SUBMIT_EXTRA the site's own options (queue, account).
#
#   scheduler.sh submit THREADS MEM_MB MINUTES GPUS SCRIPT    prints the job's id
#   scheduler.sh status ID                                    prints running, success or failed
#   scheduler.sh cancel ID...
#
# The status is asked of the scheduler: a job killed for its memory or time can no longer say so itself, and would never be retried.
# shellcheck disable=SC2086 # options are words
set -eu
action=$1
shift

submit() {
    threads=$1 mem_mb=$2 minutes=$3 gpus=$4 script=$5 extra=${SUBMIT_EXTRA:-} seconds=$(($3 * 60)) gpu=
    case $SCHEDULER in
    pbs)
        if [ "$gpus" -gt 0 ]; then gpu=:ngpus=$gpus; fi
        qsub -V -j oe -o .snakemake/log/ -l "select=1:ncpus=$threads:mem=${mem_mb}mb$gpu" -l "walltime=$seconds" $extra "$script"
        ;;
    lsf)
        if [ "$gpus" -gt 0 ]; then gpu="-gpu num=$gpus"; fi
        bsub -oo .snakemake/log/%J.log -n "$threads" -R "span[hosts=1] rusage[mem=${mem_mb}MB]" -W "$minutes" $gpu $extra "$script" |
            sed -n 's/^Job <\([0-9]*\)>.*/\1/p'
        ;;
    sge) # memory is asked for by slot
        if [ "$gpus" -gt 0 ]; then gpu="-l gpu=$gpus"; fi
        qsub -terse -V -cwd -j y -o .snakemake/log/ -pe smp "$threads" -l "h_vmem=$((mem_mb / threads))M,h_rt=$seconds" $gpu $extra "$script"
        ;;
    esac
}

status() {
    case $SCHEDULER in
    pbs) qstat -xf "$1" | awk '/job_state = F/ {ended = 1} /Exit_status = 0$/ {good = 1}
        END {print !ended ? "running" : good ? "success" : "failed"}' ;;
    lsf) bjobs -noheader -o stat "$1" | awk '{print $1 == "DONE" ? "success" : $1 == "EXIT" ? "failed" : "running"}' ;;
    sge) # a job that has left the queue is in the accounts a little later
        if qstat -j "$1" >/dev/null 2>&1; then echo running; else
            { qacct -j "$1" 2>/dev/null || true; } | awk '/^(failed|exit_status)/ {seen = 1; bad = bad || $2 != 0}
                END {print !seen ? "running" : bad ? "failed" : "success"}'
        fi ;;
    esac
}

cancel() {
    case $SCHEDULER in
    lsf) bkill "$@" ;;
    *) qdel "$@" ;;
    esac
}

case ${SCHEDULER:-} in
pbs | lsf | sge) "$action" "$@" ;;
*)
    echo "SCHEDULER is '${SCHEDULER:-}'; set it to pbs, lsf or sge (docs/cluster.md)" >&2
    exit 64
    ;;
esac
