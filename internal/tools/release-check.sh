#!/bin/sh
# Checks whether this commit can be tagged as a release. It continues after a failure,
# so that one run shows every problem. It changes nothing.
set -u
cd "$(dirname "$0")/../.."
GO=${GO:-go}
failed=0
say() { echo "== $*"; }
fail() {
	echo "FAIL: $*" >&2
	failed=1
}
temp=$(mktemp -d) || exit 1
trap 'rm -rf "$temp"' EXIT
trap 'exit 1' INT TERM

say "the tree is clean"
changed=$(git status --porcelain) || fail "this is not a git checkout"
[ -z "$changed" ] || fail "commit or remove:
$changed"

say "the root module requires the driver, sqlmw and backoff, and nothing else"
# Read as text, because go refuses to load a broken go.mod.
awk '/^\)/ { inside = 0 } !/\/\/ indirect/ && NF && (inside || sub(/^require [^(]/, substr($2, 1, 1))) { print $1 } /^require \(/ { inside = 1 }' go.mod |
	sort >"$temp/requires"
printf '%s\n' github.com/cenkalti/backoff/v5 github.com/go-sql-driver/mysql github.com/ngrok/sqlmw >"$temp/allowed"
diff "$temp/allowed" "$temp/requires" || fail "go.mod requires other modules (>) than allowed: put what tests and tools need into a nested module"

say "each module is tidy, builds, and passes vet"
for file in $(git ls-files go.mod '*/go.mod'); do
	module=$(dirname "$file")
	echo "$module"
	(cd "$module" && $GO mod tidy -diff) || fail "$module: go mod tidy changes go.mod or go.sum"
	# A module that only lists tools has no packages.
	[ -n "$(cd "$module" && $GO list ./... 2>/dev/null)" ] || continue
	(cd "$module" && $GO build -o /dev/null ./... && $GO vet ./...) || fail "$module: go build or go vet"
done

# If this commit is tagged, compare with the tag before it.
tag=$(git tag --points-at HEAD --list 'v[0-9]*' | head -n 1)
last=$(git describe --tags --abbrev=0 --match 'v[0-9]*' HEAD${tag:+^} 2>/dev/null)

say "CHANGELOG.md has an entry for this release"
newest=$(sed -n 's/^## \[\(.*\)\].*/\1/p' CHANGELOG.md | head -n 1)
version=${tag#v}
version=${version:-$newest}
if [ "$version" = Unreleased ]; then
	echo "before the tag, give the entries under [Unreleased] a section with the version and the date"
elif grep -qE "^## \[$version\] - [0-9]{4}-[0-9]{2}-[0-9]{2}$" CHANGELOG.md && grep -q "^\[$version\]: https://" CHANGELOG.md; then
	echo "the section of v$version"
else
	fail "CHANGELOG.md has no section '## [$version] - YYYY-MM-DD', or no link [$version]: at its end"
fi
awk -v last="## [${last#v}]" 'index($0, last) == 1 { exit } /^## / { section = 1 } section && /^- / { found = 1 } END { exit !found }' CHANGELOG.md ||
	fail "CHANGELOG.md has no entry since ${last:-the beginning}: describe what a user would notice under [Unreleased]"

if [ -z "$last" ]; then
	say "no release has been tagged yet, so there is no API to compare with"
else
	say "the API since $last"
	module=$($GO list -m)
	apidiff=$($GO tool -modfile=internal/tools/go.mod -n apidiff)
	mkdir "$temp/last"
	git archive "$last" | tar -x -C "$temp/last"
	if {
		(cd "$temp/last" && "$apidiff" -m -w "$temp/last.export" "$module") &&
			"$apidiff" -m -w "$temp/new.export" "$module" &&
			"$apidiff" -m "$temp/last.export" "$temp/new.export" >"$temp/changes" &&
			"$apidiff" -m -incompatible "$temp/last.export" "$temp/new.export" >"$temp/breaks"
	} 2>"$temp/log"; then
		[ -s "$temp/changes" ] || echo "no change"
		cat "$temp/changes"
		if [ -s "$temp/breaks" ]; then
			case $last in
			v0.*) echo "This breaks code that compiled: the next release must be a new minor version, v0.N.0" ;;
			*) fail "the API breaks code that compiled with $last: that needs a new major version" ;;
			esac
		fi
	else
		cat "$temp/log" >&2
		fail "apidiff could not compare with $last"
	fi
fi

[ $failed = 0 ] || exit 1
say "all is well"
