package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/inspect"
)

// checkTimeout bounds the whole check: the plain driver has no connectTimeout.
const checkTimeout = time.Minute

// checkVersion is the version of the JSON document. A new field does not change
// it.
const checkVersion = 1

// docs is the source of this file's findings.
const docs = "https://github.com/mysqlinit/mysqlinit/blob/main/docs/dsn.md"

// checked is what a check has found. docs/check.md describes its JSON.
type checked struct {
	Version   int               `json:"version"`
	Mysqlinit *inspect.State    `json:"mysqlinit"` // the session through this driver; null if it refused to give one
	Plain     *inspect.State    `json:"plain"`     // the session through the MySQL driver alone; null if it could not connect
	Server    inspect.Server    `json:"server"`
	Global    inspect.State     `json:"global"`
	BinaryLog bool              `json:"binary_log"`
	MaySet    bool              `json:"may_set_binlog_format"`
	Replica   string            `json:"replica"`
	Findings  []inspect.Finding `json:"findings"`
}

// check inspects the two sessions that a DSN gives: through this driver, and
// through the MySQL driver alone.
func check(ctx context.Context, dsn string) (*checked, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	prepared, err := mysqlinit.Open(dsn)
	if err != nil {
		return nil, err
	}
	defer prepared.Close()
	cfg, err := plainConfig(dsn)
	if err != nil {
		return nil, err
	}
	plain, err := openPlain(cfg)
	if err != nil {
		return nil, err
	}
	defer plain.Close()

	// The findings are about this driver's sessions, so they know its keys as well.
	withKeys, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, errNotAccepted
	}
	plainReport, plainErr := inspect.Session(ctx, plain, inspect.WithConfig(withKeys))
	preparedReport, preparedErr := inspect.Session(ctx, prepared, inspect.WithConfig(withKeys))
	verifyErr := verify(ctx, dsn)
	refused, isRefusal := errors.AsType[*mysqlinit.InitError](preparedErr)
	differs, isDifferent := errors.AsType[*mysqlinit.InitError](verifyErr)
	var more []inspect.Finding
	if isDifferent && !isRefusal {
		more = append(more, sessionDiffers(differs))
	}
	switch {
	case preparedErr == nil && verifyErr != nil && !isDifferent:
		return nil, verifyErr
	case preparedErr == nil && plainErr == nil:
		return newChecked(preparedReport, &preparedReport.Session, &plainReport.Session, more...), nil
	case preparedErr == nil:
		return newChecked(preparedReport, &preparedReport.Session, nil, append(more, plainRefusal(plainErr))...), nil
	case isRefusal && plainErr == nil:
		return refusedBy(refused, plainReport), nil
	case isDifferent && plainErr == nil: // the session cannot even be looked at
		return newChecked(plainReport, nil, &plainReport.Session, more...), nil
	}
	return nil, preparedErr
}

// verify connects as the DSN says, and reads the session back, as the DSN key
// verify does.
func verify(ctx context.Context, dsn string) error {
	d, err := mysqlinit.NewDriver(mysqlinit.WithVerify(true))
	if err != nil {
		return err
	}
	connector, err := d.OpenConnector(withoutVerify(dsn))
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	return db.PingContext(ctx)
}

// withoutVerify removes the key verify from a DSN.
func withoutVerify(dsn string) string {
	slash := strings.LastIndexByte(dsn, '/')
	head, query, _ := strings.Cut(dsn[slash+1:], "?")
	params := slices.DeleteFunc(strings.Split(query, "&"), func(param string) bool { return strings.HasPrefix(param, "verify=") })
	return dsn[:slash+1] + head + "?" + strings.Join(params, "&")
}

// newChecked adds findings to a report. A session is nil if there was no
// connection.
func newChecked(report *inspect.Report, prepared, plain *inspect.State, more ...inspect.Finding) *checked {
	c := &checked{
		Version:   checkVersion,
		Mysqlinit: prepared,
		Plain:     plain,
		Server:    report.Server,
		Global:    report.Global,
		BinaryLog: report.BinaryLog,
		MaySet:    report.MaySetBinlogFormat,
		Replica:   report.Replica,
		Findings:  append(report.Findings, more...),
	}
	inspect.Sort(c.Findings)
	return c
}

// refusedBy is what a check has found if this driver refuses to give a session.
// If it does because of the STATEMENT format, the finding about that becomes the
// error: one cause is one finding.
func refusedBy(err *mysqlinit.InitError, plain *inspect.Report) *checked {
	refusal := driverRefusal(err)
	if i := slices.IndexFunc(plain.Findings, func(f inspect.Finding) bool { return f.ID == "binlog-statement" }); i >= 0 && strings.Contains(err.Reason, "STATEMENT format") {
		refusal.ID, refusal.Source = plain.Findings[i].ID, plain.Findings[i].Source
		plain.Findings = slices.Delete(plain.Findings, i, i+1)
	}
	return newChecked(plain, nil, &plain.Session, refusal)
}

// plainRefusal is the finding that the plain driver cannot connect. The usual
// reason is a variable that this server has under another name.
func plainRefusal(err error) inspect.Finding {
	return inspect.Finding{
		ID:       "plain-refuses",
		Severity: inspect.Info,
		What:     "with this DSN the plain MySQL driver cannot connect",
		Why:      err.Error(),
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

// ignore removes the findings with these IDs.
func (c *checked) ignore(ids []string) {
	c.Findings = slices.DeleteFunc(c.Findings, func(f inspect.Finding) bool { return slices.Contains(ids, f.ID) })
}

// failsOn is the value of -fail-on: the least severity that makes the command
// fail. It is 0 if none does.
type failsOn inspect.Severity

func (f *failsOn) String() string {
	if *f == 0 {
		return "never"
	}
	return inspect.Severity(*f).String()
}

func (f *failsOn) Set(text string) error {
	switch text {
	case "error":
		*f = failsOn(inspect.Error)
	case "warning":
		*f = failsOn(inspect.Warning)
	case "never":
		*f = 0
	default:
		return errors.New("want error, warning or never")
	}
	return nil
}

func (f failsOn) failed(findings []inspect.Finding) bool {
	return f != 0 && inspect.Worst(findings) >= inspect.Severity(f)
}
