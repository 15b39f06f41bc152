package servers

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/mysqlinit/mysqlinit/integration/conformance"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// GroupReplication is MySQL's kind of cluster whose nodes certify each other's
// transactions.
var GroupReplication = Kind{
	Name:  "Group Replication",
	About: "MySQL 9.7: three nodes in multi-primary mode, with its checks for that on",
	Facts: conformance.Facts{Isolation: "transaction_isolation", LogBin: true, Format: "ROW", Race: conformance.Vanished, Conflicts: []uint16{3101, 1180, 1030}, Serializable: 3098, OnlyRow: 3098},
	start: startGroup,
}

func startGroup(ctx context.Context, d *Deployment) error {
	program, err := mysql97.program(ctx)
	if err != nil {
		return err
	}
	members, err := freeAddrs(clusterNodes)
	if err != nil {
		return err
	}
	group := uuid()
	for i, member := range members {
		n, err := d.add(ctx, testserver.Config{Program: program, Binlog: "ROW", Args: []string{
			fmt.Sprintf("--server-id=%d", i+1), "--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--report-host=127.0.0.1",
			"--performance-schema=ON", // shows the members
			"--plugin-load-add=group_replication.so", "--loose-group-replication-start-on-boot=OFF",
			"--loose-group-replication-group-name=" + group, "--loose-group-replication-local-address=" + member,
			"--loose-group-replication-group-seeds=" + strings.Join(members, ","),
			"--loose-group-replication-ssl-mode=DISABLED", "--loose-group-replication-recovery-use-ssl=OFF",
			"--loose-group-replication-single-primary-mode=OFF", "--loose-group-replication-enforce-update-everywhere-checks=ON",
		}})
		if err != nil {
			return err
		}
		if err := n.exec(ctx, "CHANGE REPLICATION SOURCE TO SOURCE_USER = '"+testserver.Root+"' FOR CHANNEL 'group_replication_recovery'"); err != nil {
			return err
		}
		if err := n.joinGroup(ctx, i == 0); err != nil {
			return err
		}
		n.rejoin = func(ctx context.Context, args []string) error {
			if err := n.Server.Restart(ctx, args...); err != nil {
				return err
			}
			return n.joinGroup(ctx, false)
		}
	}
	return nil
}

// joinGroup makes the node a member of the group. With bootstrap it becomes the first
// member of a new group.
func (n *Node) joinGroup(ctx context.Context, bootstrap bool) error {
	statements := []string{"START GROUP_REPLICATION"}
	if bootstrap {
		statements = []string{"SET GLOBAL group_replication_bootstrap_group = ON", "START GROUP_REPLICATION", "SET GLOBAL group_replication_bootstrap_group = OFF"}
	}
	if err := n.exec(ctx, statements...); err != nil {
		return err
	}
	return n.awaitValue(ctx, "SELECT member_state FROM performance_schema.replication_group_members WHERE member_id = @@server_uuid", "ONLINE")
}

// uuid returns a random UUID.
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
