#!/usr/bin/env bash
# Starts a Slurm of one node on this machine, makes an attack of 16 restarts on it in one way after the other, one task killed and
# run again alone, and compares the merged runs with a run of one command. Needs root, and slurmctld, slurmd, munge and slurm-client of
# Debian; ends with a sentence and code 0 where they are absent.
# Usage: docs/cluster/test-slurm.sh PALIMPSEST MODEL [CxHxW]    PALIMPSEST is the program, or cargo's xtask.
#   SPLITS="1 2 4 16"   in how many parts; OPTIONS="--steps 100"   of the attack besides; more steps where a task ends before it can be killed
set -euo pipefail

nothing() {
    echo "left out: nothing was tried under Slurm, as $1"
    exit 0
}
for program in slurmctld slurmd munged sbatch scontrol squeue; do
    [ -n "$(PATH=$PATH:/usr/sbin command -v "$program")" ] || nothing "there is no $program"
done
[ "$(id -u)" = 0 ] || nothing "it needs root"
export PATH=$PATH:/usr/sbin
program=$(realpath "$1")
model=$(realpath "$2")
shape=${3:-1x28x28}
splits=${SPLITS:-1 2 4 16}
options=${OPTIONS:---steps 100}
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d /tmp/palimpsest-slurm.XXXXXX)
chmod 755 "$work"
started=()
finish() {
    for pid in ${started[@]+"${started[@]}"}; do kill "$pid" 2> /dev/null || true; done
    wait
    [ -n "${KEEP:-}" ] || rm -rf "$work"
}
trap finish EXIT

# Munge, with a key and a socket of its own.
mkdir -p "$work"/{munge,spool,state,log}
dd if=/dev/urandom of="$work/munge/key" bs=1024 count=1 status=none
chmod 600 "$work/munge/key"
chmod 711 "$work/munge"
munged --foreground --force --socket="$work/munge/socket" --key-file="$work/munge/key" --pid-file="$work/munge/pid" \
    --seed-file="$work/munge/seed" --log-file="$work/log/munged" &
started+=($!)

host=$(hostname -s)
cpus=$(nproc)
cat > "$work/slurm.conf" << CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
CredType=cred/munge
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/log/slurmctld
SlurmdLogFile=$work/log/slurmd
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=1,requeue_setup_env_fail
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
JobRequeue=1
MinJobAge=3600
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$work/slurm.conf
slurmctld -D &
started+=($!)
slurmd -D -f "$work/slurm.conf" &
started+=($!)
for _ in $(seq 60); do
    [ "$(sinfo --noheader --format=%t 2> /dev/null || true)" = idle ] && break
    sleep 1
done
echo "Slurm $(sinfo --version | cut -d' ' -f2), node $(sinfo --noheader --format='%n %t %c CPUs')"

ended() { # of a job: waits until nothing of it is in the queue
    while squeue --noheader --jobs="$1" 2> /dev/null | grep -q .; do sleep 1; done
}
same() { # the arrays and the list of two runs
    for file in "$work/alone"/*.npy; do
        cmp "$file" "$1/$(basename "$file")" || return 1
    done
}

cd "$work"
export PALIMPSEST=$program ATTACK="--model $model --input-shape $shape $options" RESTARTS=16
TASK_OPTIONS="--cpus-per-task=1 --time=01:00:00"
MERGE_OPTIONS="--cpus-per-task=1 --time=01:00:00"
export TASK_OPTIONS MERGE_OPTIONS
# shellcheck disable=SC2086
"$program" reconstruct $ATTACK --restarts 16 --out "$work/alone" > log/alone 2>&1
failed=0
for split in $splits; do
    export EACH=$((16 / split)) OUT=$work/run-$split
    killed=
    [ "$split" != "${KILLED_OF:-4}" ] || killed=yes
    # Slurm would run it again by itself.
    submitted=$(TASK_OPTIONS="$TASK_OPTIONS${killed:+ --no-requeue}" bash "$here/slurm-array.sh")
    echo "$submitted"
    array=$(echo "$submitted" | sed 's/array job \([0-9]*\) .*/\1/')
    merge=$(echo "$submitted" | sed 's/.*merge job \([0-9]*\);.*/\1/')
    if [ -n "$killed" ]; then
        # The third task is killed at work, as by a machine that goes down, and its merge with it; then it alone is run again.
        task=${array}_2
        until [ -e "$OUT.parts/2/part.json" ]; do sleep 0.05; done
        sleep "${KILLED_AFTER:-0.2}"
        scancel --signal=KILL --full "$task"
        ended "$array"
        scontrol show job "$task" | grep -o 'JobState=[A-Z_]*' | sed "s/^/task $task, killed: /"
        [ ! -e "$OUT.parts/2/restarts.bin" ] || { echo "the task ended before it was killed"; failed=1; }
        scancel "$merge" 2> /dev/null || true
        # What merge says of it: which part is missing, and how it is made.
        "$program" merge "$OUT".parts/* --restarts 16 --out "$OUT" 2>&1 | tail -n 2 | cut -c 1-300 || true
        # shellcheck disable=SC2086
        again=$(sbatch --parsable --array=2 --output="$OUT.logs/again.log" $TASK_OPTIONS "$here/slurm-array.sh")
        # shellcheck disable=SC2086
        merge=$(sbatch --parsable --dependency="afterok:$again" --output="$OUT.logs/merge.log" $MERGE_OPTIONS "$here/slurm-array.sh" merge)
    fi
    ended "$merge"
    if same "$OUT"; then
        echo "$split parts of $EACH restarts: the arrays of one command, to the bit"
    else
        echo "$split parts of $EACH restarts: FAILED"
        tail -n 3 "$OUT.logs"/*.log || true
        failed=1
    fi
done
exit "$failed"
