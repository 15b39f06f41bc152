package servers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/mysqlinit/mysqlinit/integration/conformance"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// Vitess is a server in front of shards. Its keyspace test has two of them, each on a server
// of its own.
var Vitess = Kind{
	Name: "Vitess",
	About: "Vitess 24 over two servers of MySQL 9.7: a vtgate, a vttablet for each shard, etcd; a keyspace of two shards, and an unsharded one " +
		"for its sequence, on the first shard's server",
	Facts: conformance.Facts{Isolation: "transaction_isolation", LogBin: true, Format: "ROW", FormatIgnored: true, Race: conformance.Vanished},
	start: func(ctx context.Context, d *Deployment) error { return startVitess(ctx, d) },
}

// VitessSettingsOff is Vitess whose vtgate passes on no SET of a variable.
var VitessSettingsOff = Kind{
	Name: "Vitess, system settings off",
	start: func(ctx context.Context, d *Deployment) error {
		return startVitess(ctx, d, "--enable-system-settings=false")
	},
}

// Shard is a shard of Vitess: a server, and the tablet in front of it. Restart and
// RestartTablet return when vtgate reaches the shard again.
type Shard struct {
	*Node
	Name   string
	Tablet *testserver.Process
	d      *Deployment
}

// RestartTablet starts the tablet again. It kills the tablet first if it still runs.
func (s *Shard) RestartTablet(ctx context.Context) error {
	return errors.Join(s.Tablet.Restart(), s.awaitReached(ctx))
}

// awaitReached waits until vtgate reaches the shard. The unsharded keyspace is included,
// since it is on the first shard's server.
func (s *Shard) awaitReached(ctx context.Context) error {
	for _, shard := range []string{"test:" + s.Name, "unsharded:0"} {
		err := withDB(testserver.Root+"@tcp("+s.d.Addr+")/"+shard, func(db *sql.DB) error {
			return s.Tablet.Await(ctx, func(ctx context.Context) error {
				_, err := lastColumn(ctx, db, "SHOW GLOBAL VARIABLES LIKE 'port'")
				return err
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// The schemas of the keyspaces. vtgate knows by which column a row of the suite's tables
// finds its shard, and all the columns: an INSERT need not name them. Rows of
// mysqlinit_loose and mysqlinit_owner find their shard by id. The name in mysqlinit_owner has a
// vindex too, which makes it unique in the keyspace.
const (
	unshardedSchema = `{"tables": {"log_seq": {"type": "sequence"}, "owner_lookup": {}}}`

	shardedSchema = `{
	"sharded": true,
	"vindexes": {
		"xxhash": {"type": "xxhash"},
		"by_name": {"type": "consistent_lookup_unique", "params": {"table": "unsharded.owner_lookup", "from": "name", "to": "keyspace_id"}, "owner": "mysqlinit_owner"}
	},
	"tables": {
		"mysqlinit_race":         {"column_vindexes": [{"column": "name", "name": "xxhash"}], "columns": [{"name": "name"}], "column_list_authoritative": true},
		"mysqlinit_changed":      {"column_vindexes": [{"column": "name", "name": "xxhash"}], "columns": [{"name": "name"}], "column_list_authoritative": true},
		"mysqlinit_getorcreate":  {"column_vindexes": [{"column": "name", "name": "xxhash"}], "columns": [{"name": "name"}], "column_list_authoritative": true},
		"rows_written":           {"column_vindexes": [{"column": "id", "name": "xxhash"}], "columns": [{"name": "id"}], "column_list_authoritative": true},
		"mysqlinit_policies":     {"column_vindexes": [{"column": "id", "name": "xxhash"}], "columns": [{"name": "id"}], "column_list_authoritative": true},
		"mysqlinit_serializable": {"column_vindexes": [{"column": "id", "name": "xxhash"}], "columns": [{"name": "id"}], "column_list_authoritative": true},
		"mysqlinit_log":          {"column_vindexes": [{"column": "id", "name": "xxhash"}], "columns": [{"name": "id"}, {"name": "entry"}], "column_list_authoritative": true,
			"auto_increment": {"column": "id", "sequence": "unsharded.log_seq"}},
		"mysqlinit_loose":        {"column_vindexes": [{"column": "id", "name": "xxhash"}], "auto_increment": {"column": "id", "sequence": "unsharded.log_seq"}},
		"mysqlinit_owner":        {"column_vindexes": [{"column": "id", "name": "xxhash"}, {"column": "name", "name": "by_name"}], "auto_increment": {"column": "id", "sequence": "unsharded.log_seq"}}
	}
}`
)

// vitess starts the parts of a deployment of Vitess. They find each other through etcd. The
// other programs that Vitess can use for that are no simpler, and a topology in memory is
// that of one process (vtcombo), which has one server for all shards.
type vitess struct {
	d        *Deployment
	programs string   // the folder of Vitess's programs
	topology []string // arguments that name etcd
	tablets  map[string]*testserver.Process
}

func startVitess(ctx context.Context, d *Deployment, gate ...string) error {
	program, err := mysql97.program(ctx)
	if err != nil {
		return err
	}
	v := vitess{d: d, tablets: map[string]*testserver.Process{}}
	if v.programs, err = fetch(ctx, "vitess"); err != nil {
		return err
	}
	if err := v.startTopology(ctx); err != nil {
		return err
	}
	for _, shard := range []string{"-80", "80-"} {
		server, err := testserver.Start(ctx, testserver.Config{Program: program, Binlog: "ROW", Args: []string{"--gtid-mode=ON", "--enforce-gtid-consistency=ON"}})
		if err != nil {
			return err
		}
		s := &Shard{Node: &Node{Server: server}, Name: shard, d: d}
		s.rejoin = func(ctx context.Context, args []string) error {
			return errors.Join(s.Server.Restart(ctx, args...), s.awaitReached(ctx))
		}
		d.Shards = append(d.Shards, s)
	}
	if err := v.startTablets(ctx); err != nil {
		return err
	}
	return v.startGate(ctx, gate)
}

// startTopology starts etcd, and writes the keyspaces into it.
func (v *vitess) startTopology(ctx context.Context) error {
	programs, err := fetch(ctx, "etcd")
	if err != nil {
		return err
	}
	addrs, err := freeAddrs(2)
	if err != nil {
		return err
	}
	client, peer := "http://"+addrs[0], "http://"+addrs[1]
	folder, err := os.MkdirTemp("", "mysqlinit-")
	if err != nil {
		return err
	}
	env := []string{"ETCD_UNSUPPORTED_ARCH=" + runtime.GOARCH} // without it etcd starts on few
	etcd, err := v.d.run(folder, env, filepath.Join(programs, "etcd"), "--data-dir", filepath.Join(folder, "data"),
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
	if err != nil {
		return err
	}
	v.topology = []string{"--topo-implementation=etcd2", "--topo-global-server-address=" + addrs[0], "--topo-global-root=/vitess/global"}
	err = etcd.Await(ctx, func(ctx context.Context) error {
		return v.control(ctx, "AddCellInfo", "--root=/vitess/test", "--server-address="+addrs[0], "test")
	})
	if err != nil {
		return err
	}
	for keyspace, schema := range map[string]string{"test": shardedSchema, "unsharded": unshardedSchema} {
		// Tablets of both keyspaces use the first shard's server. Each keeps its own data in a
		// database there, which is called the sidecar.
		err := errors.Join(v.control(ctx, "CreateKeyspace", "--sidecar-db-name=_vt_"+keyspace, keyspace),
			v.control(ctx, "ApplyVSchema", "--vschema="+schema, keyspace))
		if err != nil {
			return err
		}
	}
	return nil
}

// control runs a command on the topology. It needs no vtctld for that.
func (v *vitess) control(ctx context.Context, arguments ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(v.programs, "vtctldclient"), slices.Concat(v.topology, []string{"--server=internal"}, arguments)...)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("vtctldclient %q: %w\n%s", arguments, err, output)
	}
	return nil
}

// startTablets starts the tablets, and makes each its shard's primary.
func (v *vitess) startTablets(ctx context.Context) error {
	for _, s := range v.d.Shards {
		err := s.exec(ctx, "CREATE DATABASE vt_test")
		if err != nil {
			return err
		}
		if s.Tablet, err = v.startTablet("test", s.Name, s.Node); err != nil {
			return err
		}
	}
	first := v.d.Shards[0].Node
	err := first.exec(ctx, "CREATE DATABASE vt_unsharded",
		"CREATE TABLE vt_unsharded.log_seq (id BIGINT PRIMARY KEY, next_id BIGINT, cache BIGINT) COMMENT 'vitess_sequence'",
		"INSERT INTO vt_unsharded.log_seq VALUES (0, 1000, 100)",
		"CREATE TABLE vt_unsharded.owner_lookup (name VARCHAR(20) PRIMARY KEY, keyspace_id VARBINARY(8))")
	if err != nil {
		return err
	}
	if _, err := v.startTablet("unsharded", "0", first); err != nil {
		return err
	}
	for alias, tablet := range v.tablets {
		primary := func(ctx context.Context) error { return v.control(ctx, "TabletExternallyReparented", alias) }
		if err := tablet.Await(ctx, primary); err != nil {
			return err
		}
	}
	return nil
}

func (v *vitess) startTablet(keyspace, shard string, server *Node) (tablet *testserver.Process, err error) {
	host, port, err := net.SplitHostPort(server.Addr)
	if err != nil {
		return nil, err
	}
	alias := fmt.Sprint("test-", len(v.tablets)+1)
	arguments := []string{"--tablet-path=" + alias, "--init-keyspace=" + keyspace, "--init-shard=" + shard, "--init-tablet-type=replica",
		"--tablet-hostname=127.0.0.1", "--service-map=grpc-queryservice,grpc-tabletmanager", "--db-host=" + host, "--db-port=" + port, "--db-charset=utf8mb4"}
	for _, name := range []string{"app", "appdebug", "allprivs", "dba", "filtered", "repl"} {
		arguments = append(arguments, "--db-"+name+"-user="+testserver.Root)
	}
	v.tablets[alias], _, err = v.start("vttablet", arguments, "", "grpc-")
	return v.tablets[alias], err
}

// startGate starts vtgate, and waits until it reaches all shards.
func (v *vitess) startGate(ctx context.Context, more []string) error {
	arguments := append([]string{"--cell=test", "--cells-to-watch=test", "--tablet-types-to-wait=PRIMARY", "--mysql-auth-server-impl=none"}, more...)
	gate, addr, err := v.start("vtgate", arguments, "", "mysql-server-")
	if err != nil {
		return err
	}
	v.d.Addr = addr
	return withDB(v.d.DSN(testserver.Root, ""), func(db *sql.DB) error {
		return gate.Await(ctx, func(ctx context.Context) error {
			_, err := db.ExecContext(ctx, "SELECT next_id FROM unsharded.log_seq")
			return err
		})
	})
}

// start starts a program of Vitess that listens on loopback. It returns the last listener's
// address.
func (v *vitess) start(program string, arguments []string, listeners ...string) (p *testserver.Process, addr string, err error) {
	argv := slices.Concat([]string{filepath.Join(v.programs, program)}, v.topology, arguments)
	for _, listener := range listeners {
		addrs, err := freeAddrs(1)
		if err != nil {
			return nil, "", err
		}
		addr = addrs[0]
		host, port, _ := net.SplitHostPort(addr)
		argv = append(argv, "--"+listener+"bind-address="+host, "--"+listener+"port="+port)
	}
	folder, err := os.MkdirTemp("", "mysqlinit-")
	if err != nil {
		return nil, "", err
	}
	p, err = v.d.run(folder, nil, argv...)
	return p, addr, err
}
