#!/bin/bash
# Embeds a collection with 16 tasks on Slurm:
#
#   DATA=/data/photos OUT=/scratch/features.safetensors sbatch slurm.sh
#   DATA=… OUT=… sbatch --array=3,7 slurm.sh      # tasks that failed, again: they go on where they were
#   DATA=… OUT=… sbatch slurm.sh --store f16      # further options of keeplight embed
#
#SBATCH --job-name=keeplight-embed
#SBATCH --array=0-15
#SBATCH --gpus=1
#SBATCH --cpus-per-task=5
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@60

set -euo pipefail
: "${DATA:?expected DATA, the collection of images}"
: "${OUT:?expected OUT, the file for the features, on storage that all nodes share}"

# exec: Slurm's signals before a preemption or the time limit reach keeplight itself.
exec keeplight embed "$DATA" --model "${MODEL:-clip-vit-b-32}" --out "$OUT" --shards "${SHARDS:-16}" "$@"
