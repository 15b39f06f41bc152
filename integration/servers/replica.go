package servers

import (
	"context"
	"fmt"
	"net"

	"github.com/mysqlinit/mysqlinit/integration/conformance"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// Replica is a primary server with a replica.
var Replica = Kind{
	Name:  "Replica",
	About: "MariaDB 10.11: a primary, and a read-only replica that logs what it replicates; both with the default format",
	Facts: conformance.Facts{Isolation: "tx_isolation", LogBin: true, Format: "MIXED", Race: conformance.Vanished},
	start: startReplica,
}

func startReplica(ctx context.Context, d *Deployment) error {
	program, err := mariadb1011.program(ctx)
	if err != nil {
		return err
	}
	primary, err := d.add(ctx, testserver.Config{Program: program, Binlog: "MIXED"})
	if err != nil {
		return err
	}
	second, err := d.add(ctx, testserver.Config{Program: program, Binlog: "MIXED", Args: []string{"--server-id=2", "--read-only", "--log-slave-updates"}})
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(primary.Addr)
	if err != nil {
		return err
	}
	err = second.exec(ctx,
		fmt.Sprintf("CHANGE MASTER TO MASTER_HOST = '%s', MASTER_PORT = %s, MASTER_USER = '%s', MASTER_USE_GTID = slave_pos", host, port, testserver.Root),
		"START SLAVE")
	if err != nil {
		return err
	}
	return second.awaitValue(ctx, "SHOW STATUS LIKE 'Slave_running'", "ON")
}
