#!/bin/bash
# A run over the nodes of one SLURM job, a worker per GPU. From a folder that all nodes see:
#   sbatch recipes/cluster/slurm.sh --config recipes/sst2/zerogen.yaml --ahead 16
# Give the same command again after a time limit or a failure: what is recorded is not asked again.
#SBATCH --job-name=hf-synth
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=08:00:00
#SBATCH --requeue
set -euo pipefail

read -r head < <(scontrol show hostnames "$SLURM_JOB_NODELIST") # where this script runs
port=$((20000 + SLURM_JOB_ID % 10000))

# Instead of Ray, ranks: nodes can neither fail nor come later, but nothing besides torch is needed.
# srun python -m torch.distributed.run --nnodes "$SLURM_JOB_NUM_NODES" --nproc_per_node 4 \
#     --rdzv_backend c10d --rdzv_endpoint "$head:$port" --rdzv_id "$SLURM_JOB_ID" -m hf_synth.commands.generate "$@"
# exit

# Other users of these nodes must not get in: each job has a token of its own, in a file that only its owner reads.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$PWD/.ray-token-$SLURM_JOB_ID
(umask 077 && python -c 'import secrets; print(secrets.token_hex(32), end="")' >"$RAY_AUTH_TOKEN_PATH")
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -f "$RAY_AUTH_TOKEN_PATH"' EXIT

# SLURM knows how many CPUs are ours, Ray would take all it sees.
node=(ray start --num-cpus "${SLURM_CPUS_PER_TASK:-1}" --disable-usage-stats --block)
srun --overlap --nodes 1 --ntasks 1 --nodelist "$head" \
    "${node[@]}" --head --port "$port" --include-dashboard=false --temp-dir "/tmp/ray-$SLURM_JOB_ID" &
until (: <"/dev/tcp/$head/$port") 2>/dev/null; do sleep 1; done
if ((SLURM_JOB_NUM_NODES > 1)); then
    srun --overlap --nodes $((SLURM_JOB_NUM_NODES - 1)) --ntasks $((SLURM_JOB_NUM_NODES - 1)) --exclude "$head" \
        "${node[@]}" --address "$head:$port" &
fi

RAY_ADDRESS=$head:$port hf-synth generate --backend ray --ray_address auto "$@"
