package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/inspect"
	"github.com/mysqlinit/mysqlinit/internal/sysvar"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// raceOptions is what a user chooses for the race.
type raceOptions struct {
	dsn           string // "" for a throwaway server
	workers, keys int
	force         bool // also on a server that is read-only or a replica
}

// errInterrupted is what remains of the many errors of a race that Ctrl-C ends.
var errInterrupted = errors.New("interrupted")

// race plays all five acts. It reports whether this driver kept its promises: it
// lost no transaction to a row that the transaction could not see, and with the
// guard it left none half committed.
func race(ctx context.Context, out *screen, o raceOptions) (kept bool, err error) {
	defer func() {
		if ctx.Err() != nil && err == nil {
			err = errInterrupted
		}
	}()
	where := "your server"
	if o.dsn == "" {
		server, err := testserver.Start(ctx, testserver.Config{Binlog: "MIXED"})
		if err != nil {
			return false, err
		}
		defer func() { err = errors.Join(err, server.Stop()) }()
		o.dsn, where = server.DSN(testserver.App, ""), "a throwaway server that this program started"
	}
	quiet := *out
	quiet.w = untilDone{ctx, out.w}
	st := &stage{screen: &quiet, table: "mysqlinit_race_" + strings.ToLower(rand.Text()[:6])}
	if st.prepared, err = mysqlinit.Open(o.dsn); err != nil {
		return false, err
	}
	defer st.prepared.Close()
	var cfg *mysql.Config
	if st.plain, cfg, err = openPlain(o.dsn); err != nil {
		return false, err
	}
	defer st.plain.Close()

	report, err := inspect.Session(ctx, st.plain)
	if err != nil {
		return false, fmt.Errorf("%s: %w", cfg.Addr, err)
	}
	if report.Server.Database == "" {
		return false, errors.New("the DSN names no database: add one after its '/' (with -defaults-file: the argument '/app'), in which the account can create a table")
	}
	if err := takesWrites(report); err != nil && !o.force {
		return false, err
	}
	// This driver can refuse a server that the plain driver, which has the first act, takes.
	preparedReport, err := inspect.Session(ctx, st.prepared, inspect.WithConfig(cfg))
	if err != nil {
		return false, fmt.Errorf("%s: %w", cfg.Addr, err)
	}
	if err := cmp.Or(canWrite("the MySQL driver alone", report), canWrite("the driver mysqlinit", preparedReport)); err != nil {
		return false, err
	}
	st.whyLost = whyLost(preparedReport.Session, cfg)
	st.slowDeadlocks = finding(report, "deadlock-detect-off") != nil
	workers, err := st.fitWorkers(ctx, o.workers)
	if err != nil {
		return false, err
	}
	for _, db := range []*sql.DB{st.plain, st.prepared} {
		db.SetMaxOpenConns(workers)
		db.SetMaxIdleConns(workers)
	}
	table := "table " + report.Server.Database + "." + st.table
	st.paragraph(bold, fmt.Sprintf("Two transactions get-or-create the same row. Server: %s at %s, %s.", report.Server.Version, cfg.Addr, where))
	st.paragraph(plain, fmt.Sprintf("This makes the %s, as %s, works in it, and drops it at the end.", table, report.Server.Account))
	if workers < o.workers {
		st.paragraph(plain, fmt.Sprintf("The server has few free connections, and the race takes half of them: %d workers instead of %d.", workers, o.workers))
	}
	if st.slowDeadlocks {
		st.paragraph(plain, "innodb_deadlock_detect is off: a deadlock ends only when innodb_lock_wait_timeout does. The race sets that to 2 s in the sessions of its steps.")
	}
	if _, err := st.plain.ExecContext(ctx, "CREATE TABLE "+st.table+" (name VARCHAR(64) NOT NULL PRIMARY KEY, slot INT, KEY (slot)) ENGINE=InnoDB"); err != nil {
		return false, err
	}
	defer func() { err = st.drop(ctx, table, err) }()
	return st.play(ctx, o.dsn, workers, o.keys, report)
}

// play plays the acts in the table.
func (st *stage) play(ctx context.Context, dsn string, workers, keys int, report *inspect.Report) (kept bool, err error) {
	if _, err := st.plain.ExecContext(ctx, "SELECT name FROM "+st.table+" LIMIT 1"); err != nil {
		if strings.Contains(report.Server.Version, "Vitess") {
			return false, errors.New("this keyspace is sharded, so the race needs a table with a vindex, which this program cannot make: name an unsharded keyspace in the DSN")
		}
		return false, fmt.Errorf("reading the table that was just created: %w", err)
	}
	if err := st.story(ctx); err != nil {
		return false, err
	}
	kept, err = st.load(ctx, workers, keys)
	if err != nil {
		return false, err
	}
	if err := st.price(ctx); err != nil {
		return false, err
	}
	whole, err := st.half(ctx, dsn)
	return kept && whole, err
}

// drop drops the table, even after Ctrl-C, which ends ctx. It says so on the
// screen, or in the error that the race ends with.
func (st *stage) drop(ctx context.Context, table string, err error) error {
	if ctx.Err() != nil {
		err = errInterrupted
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_, dropErr := st.plain.ExecContext(ctx, "DROP TABLE "+st.table)
	switch {
	case dropErr != nil:
		return errors.Join(err, fmt.Errorf("%s is left, drop it by hand: %w", table, dropErr))
	case err != nil:
		return fmt.Errorf("%w; %s is dropped", err, table)
	}
	st.verdict(plain, "Dropped the "+table+".")
	return nil
}

// finding returns a report's finding with this ID, or nil.
func finding(report *inspect.Report, id string) *inspect.Finding {
	i := slices.IndexFunc(report.Findings, func(f inspect.Finding) bool { return f.ID == id })
	if i < 0 {
		return nil
	}
	return &report.Findings[i]
}

// canWrite returns an error if InnoDB refuses every write of a driver's sessions.
// Such a race would end with that error in its first or second act.
func canWrite(driver string, report *inspect.Report) error {
	f := finding(report, "binlog-statement")
	if f == nil || !sysvar.NeedsRowLog(levelOf(&report.Session)) || report.Session.BinlogFormat != "STATEMENT" {
		return nil
	}
	return fmt.Errorf("the race writes, and through %s %s; %s. Cure: %s; mysqlinit check has the lines to copy", driver, f.What, f.Why, f.Cure)
}

// whyLost says why sessions of this driver can lose the race.
func whyLost(session inspect.State, cfg *mysql.Config) string {
	level := strings.ReplaceAll(session.Isolation, "-", " ")
	if asked := cfg.Params["isolation"]; asked != "" && !sysvar.NeedsRowLog(levelOf(&session)) {
		return "because the DSN asks for isolation=" + asked + ", which is " + level + " here"
	}
	return "and its sessions are " + level + ": mysqlinit check looks for the cause"
}

// takesWrites returns an error if nobody should write on a server: a transaction
// of an account that the server lets write there is not on the primary.
func takesWrites(report *inspect.Report) error {
	const cure = "; the race writes to a table that it makes: name the primary in the DSN, or add -force"
	if f := finding(report, "read-only"); f != nil {
		return errors.New(f.What + cure)
	}
	if report.Replica == "yes" {
		return errors.New("the server is a replica" + cure)
	}
	return nil
}

// fitWorkers bounds the number of workers: the two pools together take half of the
// connections that are free.
func (st *stage) fitWorkers(ctx context.Context, workers int) (int, error) {
	const least = 2
	free, known := st.freeConnections(ctx)
	if !known {
		return workers, nil
	}
	if fit := free / 4; fit < workers {
		workers = fit
	}
	if workers < least {
		return 0, fmt.Errorf("the server has %d free connections, and the race needs %d or more", free, 4*least)
	}
	return workers, nil
}

// freeConnections returns how many connections the server, or the account's own
// limit, leaves. It is not known if the server does not show that.
func (st *stage) freeConnections(ctx context.Context) (free int, known bool) {
	var name string
	var most, used, mostOfAccount int
	if st.plain.QueryRowContext(ctx, "SHOW GLOBAL VARIABLES LIKE 'max_connections'").Scan(&name, &most) != nil ||
		st.plain.QueryRowContext(ctx, "SHOW GLOBAL STATUS LIKE 'Threads_connected'").Scan(&name, &used) != nil {
		return 0, false
	}
	free = most - used
	err := st.plain.QueryRowContext(ctx, "SELECT @@SESSION.max_user_connections").Scan(&mostOfAccount)
	if err == nil && mostOfAccount > 0 {
		free = min(free, mostOfAccount)
	}
	return free, true
}

// untilDone is a writer that writes nothing more when ctx has ended: each step of
// the race would say that it was interrupted.
type untilDone struct {
	ctx context.Context
	w   io.Writer
}

func (w untilDone) Write(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return len(p), nil
	}
	return w.w.Write(p)
}
