"""The private names of xarray and pandas that zarrds uses: imported here and nowhere else."""
