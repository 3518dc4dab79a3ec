"""Jobs on a Slurm cluster on this machine."""
