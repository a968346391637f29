#!/usr/bin/env bash
# The same on Slurm: an array of shards, then one job that joins them.
#
#   sbatch docs/ci/slurm.sh campaigns/nightly.toml
#
# The nodes need what `shardstorm doctor` asks for: root or user namespaces, /dev/net/tun, redis-server, zookeeper.
# An array task that is preempted and requeued goes on where it was.
#SBATCH --job-name=shardstorm
#SBATCH --array=1-8
#SBATCH --cpus-per-task=4
#SBATCH --mem=4G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --signal=B:INT@120
#SBATCH --output=shardstorm-%A-%a.log
set -u

file=${1:-campaigns/nightly.toml}
job=${SLURM_ARRAY_JOB_ID:?run this with sbatch}
parts=${SHARDSTORM_STORE:-$PWD/shardstorm-$job}

if [ "${2:-}" = report ]; then
    exec shardstorm merge "$parts/report" "$parts"/shard-*
fi

# The first task asks for the report: it begins when the whole array is over, however that went.
if [ "$SLURM_ARRAY_TASK_ID" -eq "$SLURM_ARRAY_TASK_MIN" ] && [ "${SLURM_RESTART_COUNT:-0}" -eq 0 ]; then
    sbatch --dependency="afterany:$job" --array=0 --job-name=shardstorm-report --time=00:30:00 \
        --export="ALL,SHARDSTORM_STORE=$parts" "$0" "$file" report
fi

store=$parts/shard-$SLURM_ARRAY_TASK_ID
mkdir -p "$store"
old=$(ls -d "$store"/*-campaign-* 2>/dev/null | tail -n 1)
# `exec`, so that the signal to the batch shell two minutes before the end reaches the campaign: it ends in order.
if [ -n "$old" ]; then
    exec shardstorm campaign resume "$old"
fi
exec shardstorm campaign "$file" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" \
    --first-seed "${FIRST_SEED:-1}" --store "$store"
