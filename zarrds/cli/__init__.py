"""The command line: words to calls of the public functions, and their results to text."""
