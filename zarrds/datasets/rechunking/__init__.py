"""Copies of stores, with other chunks and codecs or the same, in bounded memory."""
