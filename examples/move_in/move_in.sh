#!/bin/sh
# Moves the users of an export in: examples/move_in/move_in.sh export.csv tnt_…
# Run it where the settings of the service are, in the checkout. Whoever is there already is left alone, so it can be
# run again for those who signed up at the other system meanwhile.
set -eu
users=$(mktemp)
trap 'rm -f "$users"' EXIT
trap 'exit 1' HUP INT TERM  # dash does not come to EXIT by itself when it is told to end
python examples/move_in/convert.py < "$1" > "$users"
python -m oneself user import "$users" --tenant "$2" --skip-existing --dry-run
python -m oneself user import "$users" --tenant "$2" --skip-existing
