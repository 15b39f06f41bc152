package servers

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"net"
	"os"
	"path/filepath"

	"github.com/mysqlinit/mysqlinit/integration/conformance"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// Vitess is a server in front of shards. Its keyspace test has two of them.
var Vitess = Kind{
	Name:  "Vitess",
	About: "Vitess 24 over MySQL 9.7, in one process (vtcombo): a keyspace of two shards, and an unsharded one for its sequence",
	Facts: conformance.Facts{Isolation: "transaction_isolation", LogBin: true, Format: "ROW", FormatIgnored: true, Race: conformance.Vanished},
	start: func(ctx context.Context, d *Deployment) error { return startVitess(ctx, d, vitessSetup{}) },
}

// VitessSettingsOff is Vitess whose vtgate passes on no SET of a variable.
var VitessSettingsOff = Kind{
	Name: "Vitess, system settings off",
	start: func(ctx context.Context, d *Deployment) error {
		return startVitess(ctx, d, vitessSetup{gate: []string{"--enable-system-settings=false"}})
	},
}

// VitessMixed is Vitess whose first shard has the level READ COMMITTED already, as if a new
// my.cnf had reached only its server. All shards are databases of one server here, so
// init_connect makes the difference, for an account that it applies to.
var VitessMixed = Kind{
	Name: "Vitess, mixed levels",
	start: func(ctx context.Context, d *Deployment) error {
		return startVitess(ctx, d, vitessSetup{
			server:  []string{"--init-connect=SET SESSION transaction_isolation = IF(DATABASE() = 'vt_test_-80', 'READ-COMMITTED', 'REPEATABLE-READ')"},
			account: testserver.App,
		})
	},
}

// VitessStatement is Vitess over a server that logs in STATEMENT format.
var VitessStatement = Kind{
	Name: "Vitess, STATEMENT",
	start: func(ctx context.Context, d *Deployment) error {
		return startVitess(ctx, d, vitessSetup{server: []string{"--binlog-format=STATEMENT"}})
	},
}

// vitessSetup is what differs from Vitess as it is installed.
type vitessSetup struct {
	gate, server []string // more arguments
	account      string   // of the tablets' sessions; "" is testserver.Root
}

// The topology and its schemas. vtgate knows by which column a row of the suite's tables
// finds its shard, and all the columns: an INSERT need not name them. Rows of
// mysqlinit_loose and mysqlinit_owner find their shard by id. The name in mysqlinit_owner has a
// vindex too, which makes it unique in the keyspace.
const (
	vitessTopology = `cells: "test" keyspaces: {name: "unsharded" shards: {name: "0"} replica_count: 1 rdonly_count: -1}
keyspaces: {name: "test" shards: {name: "-80"} shards: {name: "80-"} replica_count: 1 rdonly_count: -1}`

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
		"mysqlinit_policies":     {"column_vindexes": [{"column": "id", "name": "xxhash"}], "columns": [{"name": "id"}], "column_list_authoritative": true},
		"mysqlinit_serializable": {"column_vindexes": [{"column": "id", "name": "xxhash"}], "columns": [{"name": "id"}], "column_list_authoritative": true},
		"mysqlinit_log":          {"column_vindexes": [{"column": "id", "name": "xxhash"}], "columns": [{"name": "id"}, {"name": "entry"}], "column_list_authoritative": true,
			"auto_increment": {"column": "id", "sequence": "unsharded.log_seq"}},
		"mysqlinit_loose":        {"column_vindexes": [{"column": "id", "name": "xxhash"}], "auto_increment": {"column": "id", "sequence": "unsharded.log_seq"}},
		"mysqlinit_owner":        {"column_vindexes": [{"column": "id", "name": "xxhash"}, {"column": "name", "name": "by_name"}], "auto_increment": {"column": "id", "sequence": "unsharded.log_seq"}}
	}
}`
)

func startVitess(ctx context.Context, d *Deployment, setup vitessSetup) error {
	program, err := mysql97.program(ctx)
	if err != nil {
		return err
	}
	fetched, err := fetch(ctx, "vtcombo")
	if err != nil {
		return err
	}
	server, err := d.add(ctx, testserver.Config{Program: program, Binlog: "ROW", Args: append(setup.server, "--gtid-mode=ON", "--enforce-gtid-consistency=ON")})
	if err != nil {
		return err
	}
	err = server.exec(ctx, "CREATE DATABASE `vt_test_-80`", "CREATE DATABASE `vt_test_80-`", "CREATE DATABASE vt_unsharded_0",
		"CREATE TABLE vt_unsharded_0.log_seq (id BIGINT PRIMARY KEY, next_id BIGINT, cache BIGINT) COMMENT 'vitess_sequence'",
		"INSERT INTO vt_unsharded_0.log_seq VALUES (0, 1000, 100)",
		"CREATE TABLE vt_unsharded_0.owner_lookup (name VARCHAR(20) PRIMARY KEY, keyspace_id VARBINARY(8))", "GRANT ALL ON `vt\\_%`.* TO "+testserver.App)
	if err != nil {
		return err
	}
	folder, err := vitessFolder()
	if err != nil {
		return err
	}
	argv := []string{filepath.Join(fetched, "vtcombo"), "--proto-topo", vitessTopology, "--schema-dir", filepath.Join(folder, "schema"),
		"--mycnf-server-id", "1", "--tablet-types-to-wait", "PRIMARY", "--mysql-auth-server-impl", "none", "--db-charset", "utf8mb4"}
	argv = append(argv, "--db-app-user", cmp.Or(setup.account, testserver.Root))
	for _, name := range []string{"appdebug", "allprivs", "dba", "filtered", "repl"} {
		argv = append(argv, "--db-"+name+"-user", testserver.Root)
	}
	host, port, err := net.SplitHostPort(server.Addr)
	if err != nil {
		return errors.Join(err, os.RemoveAll(folder))
	}
	argv = append(argv, "--db-host", host, "--db-port", port)
	for _, listener := range []string{"", "grpc-", "mysql-server-"} {
		addrs, err := freeAddrs(1)
		if err != nil {
			return errors.Join(err, os.RemoveAll(folder))
		}
		d.addr = addrs[0] // in the end that of MySQL's protocol
		host, port, _ := net.SplitHostPort(d.addr)
		argv = append(argv, "--"+listener+"bind-address", host, "--"+listener+"port", port)
	}
	if d.proxy, err = testserver.StartProcess(folder, []string{"VTDATAROOT=" + folder}, append(argv, setup.gate...)...); err != nil {
		return err
	}
	return withDB(d.DSN(testserver.Root, ""), func(db *sql.DB) error {
		return d.proxy.Await(ctx, func(ctx context.Context) error {
			_, err := db.ExecContext(ctx, "SELECT next_id FROM unsharded.log_seq")
			return err
		})
	})
}

// vitessFolder makes vtcombo's folder, with the keyspaces' schemas. If this process is root,
// another user has to read them.
func vitessFolder() (folder string, err error) {
	if folder, err = os.MkdirTemp("", "mysqlinit-"); err != nil {
		return "", err
	}
	errs := []error{os.Chmod(folder, 0o755)}
	for keyspace, schema := range map[string]string{"unsharded": unshardedSchema, "test": shardedSchema} {
		dir := filepath.Join(folder, "schema", keyspace)
		errs = append(errs, os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "vschema.json"), []byte(schema), 0o644))
	}
	if err := errors.Join(errs...); err != nil {
		return "", errors.Join(err, os.RemoveAll(folder))
	}
	return folder, nil
}
