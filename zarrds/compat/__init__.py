"""The private names of xarray and pandas that zarrds uses: imported here and nowhere else.

To import any of it is an error where xarray or pandas is older than they have these names.
"""

from zarrds.compat import releases

releases.check()
