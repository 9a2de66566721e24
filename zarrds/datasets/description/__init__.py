"""What a store or a dataset holds, as facts to be shown: `zarrds.info`."""
