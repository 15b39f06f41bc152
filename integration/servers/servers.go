// Package servers starts deployments of MySQL and MariaDB as people run them: servers of
// several versions, clusters, a replica, a proxy. A small description of each deployment
// has the programs that it needs, how to start them, and the expected answers. Everything
// is private: servers listen on loopback, live in temporary folders, and end with this
// process.
package servers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/mysqlinit/mysqlinit/integration/conformance"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// Kind describes a deployment.
type Kind struct {
	Name  string
	About string            // how it is set up, for the document
	Facts conformance.Facts // the expected answers
	start func(ctx context.Context, d *Deployment) error
}

// Kinds are all deployments.
var Kinds = []Kind{MariaDB105, MariaDB1011, MariaDB118, MySQL56, MySQL97, Replica, Galera, GroupReplication, Router, Vitess}

// ErrNotToBeHad is in Start's error if a program cannot be fetched.
var ErrNotToBeHad = errors.New("not to be had here")

// Deployment is a running deployment.
type Deployment struct {
	Kind
	Version string                // what the server calls itself
	Nodes   []*Node               // the servers; the first takes writes
	Shards  []*Shard              // instead of Nodes: the servers of Vitess
	Addr    string                // where programs connect
	params  string                // DSN parameters that programs need for it
	others  []*testserver.Process // programs that are no servers of MySQL
}

// Node is one server of a deployment.
type Node struct {
	*testserver.Server
	rejoin func(ctx context.Context, args []string) error // how to start it again, if that is more than Server.Restart
}

// Start fetches the programs, starts the deployment and waits until it answers.
func (k Kind) Start(ctx context.Context) (*Deployment, error) {
	d := &Deployment{Kind: k}
	err := k.start(ctx, d)
	if err == nil {
		if d.Addr == "" {
			d.Addr = d.Nodes[0].Addr
		}
		err = d.readVersion(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", k.Name, err), d.Stop())
	}
	return d, nil
}

// Stop ends the whole deployment and removes its folders.
func (d *Deployment) Stop() error {
	var errs []error
	for _, p := range slices.Backward(d.others) {
		errs = append(errs, p.Stop())
	}
	for _, n := range d.Nodes {
		errs = append(errs, n.Stop())
	}
	for _, s := range d.Shards {
		errs = append(errs, s.Stop())
	}
	return errors.Join(errs...)
}

// DSN returns a DSN for an account (testserver.Root or testserver.App), in the database test.
// The parameters, such as "parseTime=true", can be empty.
func (d *Deployment) DSN(account, params string) string {
	dsn := account + "@tcp(" + d.Addr + ")/test"
	separator := "?"
	for _, p := range []string{d.params, params} {
		if p != "" {
			dsn += separator + p
			separator = "&"
		}
	}
	return dsn
}

// Restart starts the node again, at its address and with its data. It kills the node
// first if it still runs. It appends the arguments to those of the first start, and waits
// until the node is a member of its cluster again.
func (n *Node) Restart(ctx context.Context, args ...string) error {
	if n.rejoin != nil {
		return n.rejoin(ctx, args)
	}
	return n.Server.Restart(ctx, args...)
}

// add starts another server of the deployment.
func (d *Deployment) add(ctx context.Context, cfg testserver.Config) (*Node, error) {
	s, err := testserver.Start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	n := &Node{Server: s}
	d.Nodes = append(d.Nodes, n)
	return n, nil
}

// run starts another program of the deployment.
func (d *Deployment) run(folder string, env []string, argv ...string) (*testserver.Process, error) {
	p, err := testserver.StartProcess(folder, env, argv...)
	if err == nil {
		d.others = append(d.others, p)
	}
	return p, err
}

func (d *Deployment) readVersion(ctx context.Context) error {
	return withDB(d.DSN(testserver.Root, ""), func(db *sql.DB) error {
		return db.QueryRowContext(ctx, "SELECT VERSION()").Scan(&d.Version)
	})
}

// withDB opens a pool with the plain driver while do runs.
func withDB(dsn string, do func(*sql.DB) error) error {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return do(db)
}

// exec runs statements on a node, as root.
func (n *Node) exec(ctx context.Context, statements ...string) error {
	return withDB(n.DSN(testserver.Root, ""), func(db *sql.DB) error {
		for _, statement := range statements {
			if _, err := db.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("%s: %w", statement, err)
			}
		}
		return nil
	})
}

// awaitValue waits until the last column of a query on the node has the wanted value.
func (n *Node) awaitValue(ctx context.Context, query, want string) error {
	return withDB(n.DSN(testserver.Root, ""), func(db *sql.DB) error {
		return n.Await(ctx, func(ctx context.Context) error {
			got, err := lastColumn(ctx, db, query)
			if err == nil && got != want {
				err = fmt.Errorf("%s: got %q, want %q", query, got, want)
			}
			return err
		})
	})
}

// lastColumn returns the last column of a query's first row.
func lastColumn(ctx context.Context, db *sql.DB, query string) (value string, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return "", err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return "", err
	}
	into := make([]any, len(columns))
	for i := range into {
		into[i] = new(sql.RawBytes)
	}
	into[len(into)-1] = &value
	if !rows.Next() {
		return "", errors.Join(rows.Err(), sql.ErrNoRows)
	}
	return value, rows.Scan(into...)
}

// freeAddrs returns addresses on loopback that nobody listens on.
func freeAddrs(count int) (addrs []string, err error) {
	for range count {
		port, err := testserver.FreePort()
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, fmt.Sprintf("127.0.0.1:%d", port))
	}
	return addrs, nil
}
