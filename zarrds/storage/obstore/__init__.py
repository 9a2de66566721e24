"""A store in object storage or on a web server, through obstore."""
