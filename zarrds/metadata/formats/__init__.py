"""Documents of the two formats, which meet nowhere else."""
