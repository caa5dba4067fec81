"""A local web page over a folder of runs."""
