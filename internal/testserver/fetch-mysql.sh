#!/bin/sh
# Fetches a MySQL server program for the tests into the user's cache folder,
# through apt, without root and without installing anything: Debian has one in
# sid only, so it is unpacked and run with its own libraries. Where that cannot
# be, the tests that want MySQL say so.
set -u

cache=${XDG_CACHE_HOME:-${HOME:-}/.cache}/mysqlinit
case $cache in /.cache/*) exit 0 ;; esac # no home
[ -x "$cache/mysql/mysqld" ] && exit 0
[ -n "${MYSQLINIT_TEST_DSN:-}" ] && [ -z "${CI:-}" ] && exit 0
for tool in apt-get dpkg; do
	command -v "$tool" >/dev/null 2>&1 || exit 0
done
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keyring" ] || exit 0 # not Debian

echo "Fetching a MySQL server with apt-get (once)"
mkdir -p "$cache"
work=$(mktemp -d "$cache/fetch-XXXXXX") || exit 0
trap 'rm -rf "$work"' EXIT
fail() {
	tail -n 5 "$work/log" >&2
	echo "MySQL could not be fetched; trying without" >&2
	exit 0
}
# The mirror that the machine's own apt uses, not that of security updates.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m 1 '/debian/*$')
if [ -z "$mirror" ]; then
	echo "the machine's apt names no mirror of Debian's" >"$work/log"
	fail
fi
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/root"
: >"$work/status"
echo "deb [signed-by=$keyring] $mirror sid main" >"$work/sources.list"
cat >"$work/apt.conf" <<EOF
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$work/lists";
Dir::State::status "$work/status";
Dir::Cache "$work";
Dir::Cache::archives "$work/archives";
APT::Sandbox::User "";
Acquire::Check-Valid-Until "false";
Acquire::Languages "none";
EOF
APT_CONFIG=$work/apt.conf
export APT_CONFIG
apt-get -q update >"$work/log" 2>&1 || fail
apt-get -q -y --download-only --no-install-recommends install mysql-server-core >"$work/log" 2>&1 || fail
for archive in "$work"/archives/*.deb; do
	dpkg -x "$archive" "$work/root" >"$work/log" 2>&1 || fail
done
loader=$(cd "$work/root" && find usr/lib usr/lib64 -name 'ld-linux*.so.*' ! -type d 2>/dev/null | head -n 1)
server=$work/root/usr/sbin/mysqld
if [ -z "$loader" ] || [ ! -x "$server" ]; then
	echo "the packages hold no mysqld or no loader" >"$work/log"
	fail
fi
cat >"$work/root/mysqld" <<EOF
#!/bin/sh
# --no-defaults has to stay the first argument.
root=\$(dirname "\$0")
first=\$1
shift
exec "\$root/$loader" --library-path "\$root/$(dirname "$loader"):\$root/usr/lib/mysql/private" "\$root/usr/sbin/mysqld" "\$first" \\
	--basedir="\$root/usr" --plugin-dir="\$root/usr/lib/mysql/plugin" --lc-messages-dir="\$root/usr/share/mysql" \\
	--character-sets-dir="\$root/usr/share/mysql/charsets" "\$@"
EOF
chmod +x "$work/root/mysqld"
"$work/root/mysqld" --no-defaults --version >"$work/log" 2>&1 || fail
mv "$work/root" "$cache/mysql" 2>/dev/null # else another process was first
exit 0
