package main

import (
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

// readTimeout bounds each reading of a session. connectTimeout bounds connecting.
const readTimeout = time.Minute

// checkVersion is the version of the JSON document. A new field does not change
// it.
const checkVersion = 1

// checked is what a check has found. docs/check.md describes its JSON.
type checked struct {
	Version   int               `json:"version"`
	Verdict   string            `json:"verdict"`
	Host      string            `json:"host"` // host and port, or the socket
	Time      time.Time         `json:"time"`
	Tool      string            `json:"tool"`
	Failure   *stepError        `json:"failure"`   // null if the check came to its end
	Mysqlinit *inspect.State    `json:"mysqlinit"` // the session through this driver; null if it refused to give one
	Plain     *inspect.State    `json:"plain"`     // the session through the MySQL driver alone; null if it could not connect
	Server    inspect.Server    `json:"server"`
	Global    inspect.State     `json:"global"`
	BinaryLog bool              `json:"binary_log"`
	MaySet    bool              `json:"may_set_binlog_format"`
	Replica   string            `json:"replica"`
	Findings  []inspect.Finding `json:"findings"`

	ignored int // how many findings -ignore has removed
}

// check inspects the two sessions that a DSN gives: through this driver, and
// through the MySQL driver alone. It always returns what it knows.
func check(ctx context.Context, dsn string) *checked {
	c := &checked{
		Version:  checkVersion,
		Time:     time.Now().UTC().Truncate(time.Second),
		Tool:     "mysqlinit " + version(),
		Replica:  "unknown",
		Findings: []inspect.Finding{},
	}
	if err := c.sessions(ctx, dsn); err != nil && !errors.As(err, &c.Failure) {
		c.Failure = &stepError{Step: "reading the DSN", Text: strings.TrimPrefix(err.Error(), "mysqlinit: "), err: err}
	}
	if c.Failure != nil && ctx.Err() != nil {
		c.Failure.Text = errInterrupted.Error()
	}
	return c
}

// sessions inspects both sessions.
func (c *checked) sessions(ctx context.Context, dsn string) error {
	prepared, err := mysqlinit.Open(dsn)
	if err != nil {
		return err
	}
	defer prepared.Close()
	plain, cfg, err := openPlain(dsn)
	if err != nil {
		return err
	}
	defer plain.Close()
	c.Host, c.Server.Account = cfg.Addr, cfg.User // until the server says which account that is

	// The findings are about this driver's sessions, so its keys count.
	preparedReport, preparedErr := look(ctx, "the driver mysqlinit", prepared, cfg)
	refused, isRefusal := errors.AsType[*mysqlinit.InitError](preparedErr)
	if preparedErr != nil && !isRefusal && !loggedIn(preparedErr) {
		return preparedErr
	}
	plainReport, plainErr := look(ctx, "the MySQL driver alone", plain, cfg)
	var verifyErr error
	if !isRefusal {
		verifyErr = step("verifying the session", func() error { return verify(ctx, dsn) })
	}
	differs, isDifferent := errors.AsType[*mysqlinit.InitError](verifyErr)
	var more []inspect.Finding
	if isDifferent {
		more = append(more, sessionDiffers(differs))
	}
	switch {
	case preparedErr == nil && verifyErr != nil && !isDifferent:
		return verifyErr
	case preparedErr == nil && plainErr == nil:
		c.fill(preparedReport, &preparedReport.Session, &plainReport.Session, more...)
	case preparedErr == nil:
		c.fill(preparedReport, &preparedReport.Session, nil, append(more, plainRefusal(plainErr))...)
	case isRefusal && plainErr == nil:
		c.fill(plainReport, nil, &plainReport.Session, refusal(refused, plainReport))
	case isDifferent && plainErr == nil: // the session cannot even be looked at
		c.fill(plainReport, nil, &plainReport.Session, more...)
	default:
		return preparedErr
	}
	return nil
}

// look inspects a session of a pool, and closes the pool: a server can have only one
// connection to spare.
func look(ctx context.Context, name string, db *sql.DB, cfg *mysql.Config) (report *inspect.Report, err error) {
	defer db.Close()
	if err := step(connecting+name, func() error { return db.PingContext(ctx) }); err != nil {
		return nil, err
	}
	err = step("reading the session of "+name, func() error {
		ctx, cancel := context.WithTimeout(ctx, readTimeout)
		defer cancel()
		report, err = inspect.Session(ctx, db, inspect.WithConfig(cfg))
		return err
	})
	return report, err
}

const connecting = "connecting with "

// loggedIn reports whether an error of look is the server's answer to a question
// about the session. If it is the answer to the login, each further login is one
// more that fails, after a few of which servers lock an account.
func loggedIn(err error) bool {
	_, isAnswer := errors.AsType[*mysql.MySQLError](err)
	failed, ok := errors.AsType[*stepError](err)
	return isAnswer && ok && !strings.HasPrefix(failed.Step, connecting)
}

// place says where and when a check was made, as far as that is known.
func (c *checked) place() string {
	var b strings.Builder
	if c.Host != "" {
		b.WriteString(c.Host + " ")
	}
	if c.Server.Account != "" {
		b.WriteString("as " + c.Server.Account + " ")
	}
	if b.Len() > 0 {
		b.WriteString("at ")
	}
	return b.String() + c.Time.Format(time.RFC3339)
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

// fill takes over a report and adds findings to it. A session is nil if there was
// no connection.
func (c *checked) fill(report *inspect.Report, prepared, plain *inspect.State, more ...inspect.Finding) {
	c.Mysqlinit, c.Plain = prepared, plain
	c.Server, c.Global = report.Server, report.Global
	c.BinaryLog, c.MaySet, c.Replica = report.BinaryLog, report.MaySetBinlogFormat, report.Replica
	c.Findings = append(report.Findings, more...)
	inspect.Sort(c.Findings)
}
