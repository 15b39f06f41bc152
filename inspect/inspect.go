package inspect

import (
	"context"
	"database/sql"
	"errors"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// Option changes what [Session] looks at.
type Option func(*settings)

type settings struct{ cfg *mysql.Config }

// WithConfig passes the configuration that db was opened with. Session then also
// looks at what it sets and what it leaves out. DSN keys of the driver mysqlinit
// in cfg.Params count: with binlog=server, a session that can only read is not an
// error.
func WithConfig(cfg *mysql.Config) Option {
	return func(s *settings) { s.cfg = cfg }
}

// Session reads one session of db, and its server. It takes seven to ten round
// trips, and one extra in a cluster; on Vitess, five extra, three for each shard,
// and one for each unique key. It changes nothing. What the account is not
// allowed to see is left out, or reported as unknown. Errors of the driver and
// the server are returned unchanged.
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
	vendor := "MySQL"
	if f.isMariaDB() {
		vendor = "MariaDB"
	}
	replica := "unknown"
	if f.isReplica() {
		replica = "yes"
	} else if f.replica != nil {
		replica = "no"
	}
	return &Report{
		Server: Server{
			Vendor:   vendor,
			Version:  f.version,
			Comment:  f.global["version_comment"],
			Account:  f.account,
			Database: f.database,
		},
		Session:            stateOf(f.session),
		Global:             stateOf(f.global),
		BinaryLog:          f.on("log_bin"),
		MaySetBinlogFormat: f.maySetBinlogFormat(),
		Replica:            replica,
		Findings:           f.findings(),
	}
}

func stateOf(variables map[string]string) State {
	return State{
		Isolation:    isolation(variables),
		BinlogFormat: variables[sysvar.BinlogFormat],
		Autocommit:   variables["autocommit"],
		SQLMode:      variables["sql_mode"],
	}
}

func (f *facts) findings() []Finding {
	all := []Finding{} // not nil: an empty list is [] in JSON, too
	for _, rule := range rules {
		if finding := rule.look(f); finding != nil {
			finding.ID, finding.Source = rule.id, rule.mysql
			if f.isMariaDB() {
				finding.Source = rule.mariadb
			}
			all = append(all, *finding)
		}
	}
	Sort(all)
	return all
}
