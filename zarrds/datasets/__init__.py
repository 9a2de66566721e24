"""Datasets: opened, saved, edited, queried, converted and copied."""
