#!/bin/sh
# Run a command with this machine's access to package indexes, where prepare.py has brought it.
set -eu
if [ -f /.harness-build/env ]; then
    set -a
    . /.harness-build/env
    set +a
fi
exec "$@"
