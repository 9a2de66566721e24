"""VCF files to stores in the layout of VCF Zarr."""
