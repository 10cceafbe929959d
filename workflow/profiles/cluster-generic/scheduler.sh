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

# A scheduler forgets a job that has ended: at once, after a while, or where no accounts are kept. It is then
# called a success, and Snakemake looks for the outputs itself: a job that was killed has left none, since jobs
# rename them into place when all is done. To call it running would be to wait for ever.
FORGOTTEN=success

status() {
    case $SCHEDULER in
    pbs) pbs_status "$1" ;;
    lsf) lsf_status "$1" ;;
    sge) sge_status "$1" ;;
    esac
}

pbs_status() { # OpenPBS and PBS Pro print `job_state = F`, Torque XML: `<job_state>C</job_state>`
    said=$(qstat -xf "$1" 2>&1) || true
    case $said in
    *[Uu]nknown\ [Jj]ob*) echo $FORGOTTEN ;;
    *)
        echo "$said" | sed 's/></>\
</g' | tr '<>=' '   ' | awk '
            $1 == "job_state" {ended = $2 == "F" || $2 == "C"}
            tolower($1) == "exit_status" {good = $2 == "0"}
            END {print !ended ? "running" : good ? "success" : "failed"}'
        ;;
    esac
}

lsf_status() {
    said=$(bjobs -noheader -o stat "$1" 2>&1) || true
    case $said in
    *"is not found"*) echo $FORGOTTEN ;;
    DONE*) echo success ;;
    EXIT* | ZOMBI*) echo failed ;;
    *) echo running ;;
    esac
}

sge_status() { # a job that has left the queue is in the accounts a little later; ids come round again, the last entry counts
    if qstat -j "$1" >/dev/null 2>&1; then
        echo running
        return
    fi
    for wait in 0 ${ACCOUNTS_WAIT:-5 5}; do
        sleep "$wait"
        said=$(qacct -j "$1" 2>&1) || true
        case $said in *"not found"*) ;; *) break ;; esac
    done
    case $said in
    *"not found"*) echo $FORGOTTEN ;;
    *)
        echo "$said" | awk '
            /^=/ || $1 == "jobnumber" {seen = bad = 0}
            $1 == "failed" || $1 == "exit_status" {seen = 1; bad = bad || $2 != 0}
            END {print !seen ? "running" : bad ? "failed" : "success"}'
        ;;
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
