package inspect

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// This file reads the variables that a DSN sets, and compares them with the session.

// variablesIn returns the names of the variables that a configuration sets, in
// lower case.
func variablesIn(cfg *mysql.Config) (names []string) {
	if cfg == nil {
		return nil
	}
	for name := range cfg.Params {
		if variableName.MatchString(name) {
			names = append(names, strings.ToLower(name))
		}
	}
	slices.Sort(names)
	return names
}

var variableName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// ignoredVariables returns the names of variables that a configuration sets and
// that have another value in the session. Servers show many values in their own
// words: a variable whose values cannot be compared is left out.
func ignoredVariables(cfg *mysql.Config, session map[string]string) (found []string) {
	if cfg == nil {
		return nil
	}
	for key, want := range cfg.Params {
		name := strings.ToLower(key)
		if got, known := session[name]; known && differ(name, want, got) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// differ reports whether a session's value is certainly not the wanted one.
func differ(name, want, got string) bool {
	switch name {
	case sysvar.TransactionIsolation, sysvar.TxIsolation, sysvar.BinlogFormat:
		text, ok := unquote(want)
		return ok && !strings.EqualFold(text, got)
	case "time_zone":
		text, ok := unquote(want)
		return ok && !sameZone(text, got)
	case "sql_mode":
		text, ok := unquote(want)
		return ok && !includesModes(got, text)
	}
	if a, err := strconv.ParseFloat(strings.TrimSpace(want), 64); err == nil {
		if b, err := strconv.ParseFloat(got, 64); err == nil {
			return a != b
		}
	}
	return isSwitch(want) && isSwitch(got) && isOn(want) != isOn(got)
}

var quoted = regexp.MustCompile(`^\s*'([^'\\]*)'\s*$`)

// unquote returns the text of an SQL string. It does not read strings with
// escapes.
func unquote(value string) (text string, ok bool) {
	match := quoted.FindStringSubmatch(value)
	if match == nil {
		return "", false
	}
	return match[1], true
}

// includesModes reports whether all wanted modes are among the shown ones. The
// server shows more than was set: a combined mode adds the modes it stands for.
func includesModes(shown, wanted string) bool {
	all := strings.Split(strings.ToUpper(shown), ",")
	for mode := range strings.SplitSeq(strings.ToUpper(wanted), ",") {
		if mode != "" && !slices.Contains(all, mode) {
			return false
		}
	}
	return true
}

// sameZone compares time zones. Servers show '+2:00' as +02:00.
func sameZone(a, b string) bool {
	aMinutes, isOffset := minutesFromUTC(a)
	if !isOffset {
		return strings.EqualFold(a, b)
	}
	bMinutes, isOffset := minutesFromUTC(b)
	return isOffset && aMinutes == bMinutes
}

var offsetFromUTC = regexp.MustCompile(`^([+-])(\d{1,2}):(\d{1,2})$`)

// minutesFromUTC returns how far a time zone such as +2:00 is ahead of UTC.
func minutesFromUTC(zone string) (minutes int, ok bool) {
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

func isOn(value string) bool {
	switch strings.ToUpper(strings.TrimSpace(value)) {
	case "ON", "1", "YES", "TRUE":
		return true
	}
	return false
}
