package servers

import (
	"context"

	"github.com/mysqlinit/mysqlinit/integration/conformance"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// These deployments are a single server each.
var (
	MariaDB105 = alone("MariaDB 10.5", mariadb105, "",
		conformance.Facts{Isolation: "tx_isolation", Format: "MIXED", Race: conformance.Vanished})
	MariaDB1011 = alone("MariaDB 10.11", mariadb1011, "MIXED",
		conformance.Facts{Isolation: "tx_isolation", LogBin: true, Format: "MIXED", Race: conformance.Vanished})
	MariaDB118 = alone("MariaDB 11.8", mariadb118, "MIXED",
		conformance.Facts{Isolation: "both", LogBin: true, Format: "MIXED", Race: conformance.Changed})
	MySQL56 = alone("MySQL 5.6", mysql56, "STATEMENT",
		conformance.Facts{Isolation: "tx_isolation", LogBin: true, Format: "STATEMENT", Race: conformance.Vanished})
	MySQL97 = alone("MySQL 9.7", mysql97, "ROW",
		conformance.Facts{Isolation: "transaction_isolation", LogBin: true, Format: "ROW", Race: conformance.Vanished})
)

// alone describes a deployment of one server. The binary log's format is the server's
// default; "" turns the log off.
func alone(name string, s source, binlog string, facts conformance.Facts) Kind {
	about := "one server with its own defaults, and the binary log on"
	if binlog == "" {
		about = "one server with its own defaults: no binary log"
	}
	return Kind{Name: name, About: about, Facts: facts, start: func(ctx context.Context, d *Deployment) error {
		program, err := s.program(ctx)
		if err != nil {
			return err
		}
		_, err = d.add(ctx, testserver.Config{Program: program, Binlog: binlog})
		return err
	}}
}
