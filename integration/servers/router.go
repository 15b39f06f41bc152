package servers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mysqlinit/mysqlinit/integration/conformance"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// Router is a proxy that shares a server's connections among clients.
var Router = Kind{
	Name:  "Router",
	About: "MySQL Router in front of MySQL 9.7, with connection sharing and no delay: a server's connection serves another client as soon as a statement has ended",
	Facts: conformance.Facts{Isolation: "transaction_isolation", LogBin: true, Format: "ROW", Race: conformance.Vanished},
	start: startRouter,
}

// routerConfig shares connections, which needs TLS on both sides of the Router. The Router
// uses the server's certificate as its own.
const routerConfig = `[DEFAULT]
plugin_folder = %[1]s
logging_folder =
runtime_folder = %[2]s
data_folder = %[2]s
config_folder = %[2]s

[logger]
level = INFO
destination = /dev/stderr

[connection_pool]
max_idle_server_connections = 64

[routing:shared]
bind_address = %[3]s
protocol = classic
routing_strategy = first-available
destinations = %[4]s
client_ssl_mode = REQUIRED
client_ssl_cert = %[5]s
client_ssl_key = %[6]s
server_ssl_mode = REQUIRED
connection_sharing = 1
connection_sharing_delay = 0
`

func startRouter(ctx context.Context, d *Deployment) error {
	program, err := mysql97.program(ctx)
	if err != nil {
		return err
	}
	fetched, err := fetch(ctx, "mysql-router")
	if err != nil {
		return err
	}
	server, err := d.add(ctx, testserver.Config{Program: program, Binlog: "ROW", TLS: true})
	if err != nil {
		return err
	}
	addrs, err := freeAddrs(1)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "mysqlinit-")
	if err != nil {
		return err
	}
	config := filepath.Join(folder, "router.conf")
	cert, key := server.Certificate()
	text := fmt.Sprintf(routerConfig, filepath.Join(fetched, "usr/lib/mysqlrouter/plugin"), folder, addrs[0], server.Addr, cert, key)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return errors.Join(err, os.RemoveAll(folder))
	}
	router, err := d.run(folder, nil, filepath.Join(fetched, "mysqlrouter"), "--config="+config)
	if err != nil {
		return err
	}
	d.Addr, d.params = addrs[0], "tls=skip-verify"
	return withDB(d.DSN(testserver.Root, ""), func(db *sql.DB) error { return router.Await(ctx, db.PingContext) })
}
