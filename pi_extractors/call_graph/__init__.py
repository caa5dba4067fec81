"""Call graphs of Python repositories: index, engines, reachability, rendering."""
