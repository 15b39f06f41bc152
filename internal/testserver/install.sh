#!/bin/sh
# Installs a MariaDB server program for the tests and the demo, if none is found.
# The server is not started as a service. If it cannot be installed, the tests and
# the demo say how to get one.
set -u

for program in mariadbd /usr/sbin/mariadbd /usr/libexec/mariadbd /opt/homebrew/opt/mariadb/bin/mariadbd /usr/local/opt/mariadb/bin/mariadbd; do
	command -v "$program" >/dev/null 2>&1 && exit 0
done
[ -n "${MYSQLINIT_TEST_DSN:-}" ] && [ -z "${CI:-}" ] && exit 0

if command -v brew >/dev/null 2>&1; then
	echo "Installing MariaDB with Homebrew (once)"
	brew install --quiet mariadb
elif command -v apt-get >/dev/null 2>&1; then
	as_root=
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null 2>&1 || exit 0
		as_root=sudo
	fi
	echo "Installing mariadb-server-core with apt-get (once)"
	log=$(mktemp)
	install='env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mariadb-server-core'
	# The package lists of a fresh machine can be missing or old.
	$as_root $install >"$log" 2>&1 || { $as_root apt-get update -qq >"$log" 2>&1 && $as_root $install >"$log" 2>&1; } || {
		tail -n 5 "$log" >&2
		echo "mariadb-server-core could not be installed; going on without it" >&2
	}
	rm -f "$log"
fi
exit 0
