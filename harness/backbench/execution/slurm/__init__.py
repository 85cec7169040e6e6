"""The executor ``slurm``: each stage is a job of a cluster, submitted by submitit."""
