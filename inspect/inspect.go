package inspect

import (
	"context"
	"database/sql"
	"errors"

	"github.com/go-sql-driver/mysql"
)

// Option changes what [Session] looks at.
type Option func(*settings)

type settings struct{ cfg *mysql.Config }

// WithConfig gives the configuration that db was opened with, so that what it
// says, and does not say, is looked at too.
func WithConfig(cfg *mysql.Config) Option {
	return func(s *settings) { s.cfg = cfg }
}

// Session reads one session of db, and its server, in seven to ten round trips, one more in a
// cluster. It changes nothing. What the account may not see is left
// out, or said to be unknown. Its errors are the driver's and the server's, as they were.
func Session(ctx context.Context, db *sql.DB, opts ...Option) (report *Report, err error) {
	var s settings
	for _, opt := range opts {
		opt(&s)
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	f, err := read(ctx, conn, s.cfg)
	if err != nil {
		return nil, err
	}
	return f.report(), nil
}

func (f *facts) report() *Report {
	r := &Report{
		Server: Server{
			Vendor:   "MySQL",
			Version:  f.version,
			Comment:  f.global["version_comment"],
			Account:  f.account,
			Database: f.database,
		},
		Session:            state(f.session),
		Global:             state(f.global),
		BinaryLog:          f.on("log_bin"),
		MaySetBinlogFormat: f.maySetBinlogFormat(),
		Replica:            "unknown",
		Findings:           []Finding{}, // in JSON a list, also where it is empty
	}
	if f.isMariaDB() {
		r.Server.Vendor = "MariaDB"
	}
	if f.replica != nil {
		r.Replica = map[bool]string{true: "yes", false: "no"}[f.isReplica()]
	}
	for _, rule := range rules {
		if finding := rule.look(f); finding.Severity != 0 {
			finding.ID, finding.Source = rule.id, rule.source
			r.Findings = append(r.Findings, finding)
		}
	}
	Sort(r.Findings)
	return r
}

func state(variables map[string]string) State {
	isolation := variables["transaction_isolation"]
	if isolation == "" {
		isolation = variables["tx_isolation"]
	}
	return State{
		Isolation:    isolation,
		BinlogFormat: variables["binlog_format"],
		Autocommit:   variables["autocommit"],
		SQLMode:      variables["sql_mode"],
	}
}
