#!/bin/sh
# Imports the users of an export: examples/move_in/move_in.sh export.csv tnt_…
# Run it in the checkout, with the settings of the service. Existing users are skipped, so it can be
# run again for users who signed up at the other system meanwhile.
set -eu
users=$(mktemp)
trap 'rm -f "$users"' EXIT
trap 'exit 1' HUP INT TERM  # dash does not run the EXIT trap on signals
python examples/move_in/convert.py < "$1" > "$users"
python -m oneself user import "$users" --tenant "$2" --skip-existing --dry-run
python -m oneself user import "$users" --tenant "$2" --skip-existing
