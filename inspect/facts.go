package inspect

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// This file is what follows from the facts that were read.

func (f *facts) isMariaDB() bool { return strings.Contains(f.version, "MariaDB") }

func (f *facts) isReplica() bool { return len(f.replica) > 0 }

// on tells whether a variable of the server is on.
func (f *facts) on(name string) bool { return isOn(f.global[name]) }

func isOn(value string) bool {
	switch strings.ToUpper(strings.TrimSpace(value)) {
	case "ON", "1", "YES", "TRUE":
		return true
	}
	return false
}

// needsRowLog tells whether an isolation level refuses to write under STATEMENT.
func needsRowLog(isolation string) bool {
	return isolation == "READ-COMMITTED" || isolation == "READ-UNCOMMITTED"
}

// refusesStatement tells whether the server refuses STATEMENT with those levels:
// with its binary log on, and in a Galera cluster always.
func (f *facts) refusesStatement() bool { return f.on("log_bin") || f.on("wsrep_on") }

// logsUpdates tells whether a replica writes what it replicates to its own log.
func (f *facts) logsUpdates() bool { return f.on("log_replica_updates") || f.on("log_slave_updates") }

// global privileges that let an account set binlog_format, and more.
var binlogPrivileges = []string{"SUPER", "BINLOG ADMIN", "BINLOG_ADMIN", "SESSION_VARIABLES_ADMIN", "SYSTEM_VARIABLES_ADMIN"}

var globalGrant = regexp.MustCompile(`^GRANT (.*) ON \*\.\* TO `)

// privileges returns those of the global privileges that matter here which the
// account has.
func (f *facts) privileges() (found []string) {
	for _, grant := range f.grants {
		match := globalGrant.FindStringSubmatch(grant)
		if match == nil {
			continue
		}
		for name := range strings.SplitSeq(match[1], ",") {
			name = strings.TrimSpace(name)
			if name == "ALL PRIVILEGES" {
				return []string{name}
			}
			if slices.Contains(binlogPrivileges, name) {
				found = append(found, name)
			}
		}
	}
	return found
}

// maySetBinlogFormat follows the servers' documentation of binlog_format: MySQL 8 and later
// ask for SESSION_VARIABLES_ADMIN or what includes it, MySQL 5 for SUPER, MariaDB for BINLOG ADMIN, and
// before 10.11 SUPER would do too.
func (f *facts) maySetBinlogFormat() bool {
	return slices.ContainsFunc(f.privileges(), func(name string) bool {
		if f.isMariaDB() {
			return name == "ALL PRIVILEGES" || name == "BINLOG ADMIN" || name == "SUPER" && olderMariaDB.MatchString(f.version)
		}
		return name != "BINLOG_ADMIN" && name != "BINLOG ADMIN"
	})
}

var olderMariaDB = regexp.MustCompile(`^(5|10\.([0-9]|10))\.`)

// filters returns the replication filters that look at the current database under
// STATEMENT, and at the table's under ROW.
func (f *facts) filters() (found []string) {
	add := func(name, value string) {
		if value != "" && !slices.Contains(found, name) {
			found = append(found, name)
		}
	}
	for _, name := range []string{"binlog_do_db", "binlog_ignore_db", "replicate_do_db", "replicate_ignore_db"} {
		add(name, f.global[name]) // MariaDB shows them to everyone
		add(name, f.primary[name])
		add(name, f.replica[name])
	}
	return found
}

// asked returns the names of the variables in the configuration's Params.
func (f *facts) asked() (names []string) {
	if f.cfg == nil {
		return nil
	}
	for name := range f.cfg.Params {
		if variableName.MatchString(name) {
			names = append(names, strings.ToLower(name))
		}
	}
	slices.Sort(names)
	return names
}

var variableName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// ignored returns what the configuration sets and the session does not show: where
// the two can be compared, for servers show many values in words of their own.
func (f *facts) ignored() (found []string) {
	if f.cfg == nil {
		return nil
	}
	for key, want := range f.cfg.Params {
		name := strings.ToLower(key)
		if got, known := f.session[name]; known && differ(name, want, got) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

var quoted = regexp.MustCompile(`^\s*'([^'\\]*)'\s*$`)

// differ tells whether a value certainly is not the one that was asked for.
func differ(name, want, got string) bool {
	switch name {
	case "transaction_isolation", "tx_isolation", "binlog_format", "time_zone":
		match := quoted.FindStringSubmatch(want)
		if match == nil {
			return false
		}
		if a, ok := offset(match[1]); ok { // '+2:00' is shown as +02:00
			b, ok := offset(got)
			return !ok || a != b
		}
		return !strings.EqualFold(match[1], got)
	case "sql_mode": // a mode may stand for several
		match := quoted.FindStringSubmatch(want)
		if match == nil {
			return false
		}
		shown := strings.Split(strings.ToUpper(got), ",")
		return slices.ContainsFunc(strings.Split(strings.ToUpper(match[1]), ","), func(mode string) bool {
			return mode != "" && !slices.Contains(shown, mode)
		})
	}
	if a, err := strconv.ParseFloat(strings.TrimSpace(want), 64); err == nil {
		if b, err := strconv.ParseFloat(got, 64); err == nil {
			return a != b
		}
	}
	return isSwitch(want) && isSwitch(got) && isOn(want) != isOn(got)
}

var offsetFromUTC = regexp.MustCompile(`^([+-])(\d{1,2}):(\d{1,2})$`)

// offset returns the minutes that a time zone such as +2:00 is ahead of UTC.
func offset(zone string) (minutes int, ok bool) {
	match := offsetFromUTC.FindStringSubmatch(zone)
	if match == nil {
		return 0, false
	}
	hours, _ := strconv.Atoi(match[1] + match[2])
	minutes, _ = strconv.Atoi(match[1] + match[3])
	return 60*hours + minutes, true
}

func isSwitch(value string) bool {
	switch strings.ToUpper(strings.TrimSpace(value)) {
	case "ON", "OFF", "0", "1":
		return true
	}
	return false
}
