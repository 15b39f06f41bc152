package inspect

import (
	"regexp"
	"slices"
	"strings"
)

// binlogPrivileges are global privileges that let an account set binlog_format,
// and do more than that.
var binlogPrivileges = []string{"SUPER", "BINLOG ADMIN", "BINLOG_ADMIN", "SESSION_VARIABLES_ADMIN", "SYSTEM_VARIABLES_ADMIN"}

var globalGrant = regexp.MustCompile(`^GRANT (.*) ON \*\.\* TO `)

// globalPrivileges returns all that the account has for the whole server.
func (f *facts) globalPrivileges() (found []string) {
	for _, grant := range f.grants {
		if match := globalGrant.FindStringSubmatch(grant); match != nil {
			for name := range strings.SplitSeq(match[1], ",") {
				found = append(found, strings.TrimSpace(name))
			}
		}
	}
	return found
}

// privileges returns those of the binlogPrivileges that the account has.
// An account with all privileges has just "ALL PRIVILEGES".
func (f *facts) privileges() []string {
	found := f.globalPrivileges()
	if slices.Contains(found, "ALL PRIVILEGES") {
		return []string{"ALL PRIVILEGES"}
	}
	return slices.DeleteFunc(found, func(name string) bool { return !slices.Contains(binlogPrivileges, name) })
}

// smallestPrivilege is the smallest that lets an account set binlog_format, and what
// else the account can then do. It is "" if that is SUPER.
func (f *facts) smallestPrivilege() (privilege, also string) {
	switch {
	case f.isMariaDB():
		return "BINLOG ADMIN", "purge binary logs"
	case strings.HasPrefix(f.version, "5."):
		return "", ""
	}
	return "SESSION_VARIABLES_ADMIN", "switch sql_log_bin off"
}

// isAdministrator reports whether the account has other global privileges than the
// binlogPrivileges, such as root has.
func (f *facts) isAdministrator() bool {
	return slices.ContainsFunc(f.globalPrivileges(), func(name string) bool {
		return name != "USAGE" && !slices.Contains(binlogPrivileges, name)
	})
}

// maySetBinlogFormat follows the servers' documentation of binlog_format. MySQL 8
// and later want SESSION_VARIABLES_ADMIN or a privilege that includes it, and
// MySQL 5 wants SUPER. MariaDB wants BINLOG ADMIN; before 10.11, SUPER is enough.
func (f *facts) maySetBinlogFormat() bool {
	return slices.ContainsFunc(f.privileges(), func(name string) bool {
		if f.isMariaDB() {
			return name == "ALL PRIVILEGES" || name == "BINLOG ADMIN" || name == "SUPER" && olderMariaDB.MatchString(f.version)
		}
		return name != "BINLOG_ADMIN" && name != "BINLOG ADMIN"
	})
}

var olderMariaDB = regexp.MustCompile(`^(5|10\.([0-9]|10))\.`)
