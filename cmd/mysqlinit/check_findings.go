package main

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/inspect"
)

// This file has the findings that come of comparing two sessions.

// docs is the source of this file's findings.
const docs = "https://github.com/mysqlinit/mysqlinit/blob/main/docs/dsn.md"

// refusal is the finding that this driver refuses to give a session. If it does
// because of the STATEMENT format, it is the plain session's finding about that,
// which becomes an error and leaves the report: one cause is one finding.
func refusal(err *mysqlinit.InitError, plain *inspect.Report) inspect.Finding {
	i := slices.IndexFunc(plain.Findings, func(f inspect.Finding) bool { return f.ID == "binlog-statement" })
	if i < 0 || !strings.Contains(err.Reason, "STATEMENT format") {
		return driverRefusal(err)
	}
	finding := plain.Findings[i]
	plain.Findings = slices.Delete(plain.Findings, i, i+1)
	finding.Severity = inspect.Error
	finding.What = "READ COMMITTED writes would fail, so the driver mysqlinit refuses to connect"
	finding.Why = reason(err)
	return finding
}

// plainRefusal is the finding that the plain driver cannot connect. The usual
// reason is a variable that this server has under another name.
func plainRefusal(err error) inspect.Finding {
	why := err.Error()
	if failed, ok := errors.AsType[*stepError](err); ok {
		why = failed.Text
	}
	return inspect.Finding{
		ID:       "plain-refuses",
		Severity: inspect.Info,
		What:     "with this DSN the plain MySQL driver cannot connect",
		Why:      why,
		Cure:     "if other programs use the same DSN: set only variables, and values, that this server accepts under these names",
		Source:   docs,
	}
}

// driverRefusal is the finding that this driver returns an error instead of a
// connection.
func driverRefusal(err *mysqlinit.InitError) inspect.Finding {
	cure := err.Cure
	if cure == "" {
		cure = "make that statement work for this account, or remove it from the DSN"
	}
	return inspect.Finding{
		ID:       "driver-refuses",
		Severity: inspect.Error,
		What:     "with this DSN the driver mysqlinit returns an error instead of a connection",
		Why:      reason(err),
		Cure:     cure,
		Source:   docs,
	}
}

// sessionDiffers is the finding that verify refuses a session that this driver
// gives without it.
func sessionDiffers(err *mysqlinit.InitError) inspect.Finding {
	return inspect.Finding{
		ID:       "session-differs",
		Severity: inspect.Error,
		What:     "a session of the driver mysqlinit is not what the DSN asks for",
		Why:      reason(err),
		Cure:     cmp.Or(err.Cure, "find out why the server accepts the SET and does not do what it says; verify=true makes that an error of each connection"),
		Source:   docs,
	}
}

// reason returns an error's text without its cure.
func reason(err *mysqlinit.InitError) string {
	return strings.TrimPrefix(strings.Replace(err.Error(), ". Cure: "+err.Cure, "", 1), "mysqlinit: ")
}
