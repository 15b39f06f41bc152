package inspect

import (
	"fmt"
	"strings"

	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// This file has the rules about servers that are one of several: replicas,
// Galera, Group Replication, and proxies.

func readOnly(f *facts) *Finding {
	var which []string
	for _, name := range []string{"read_only", "super_read_only", "innodb_read_only"} {
		if f.on(name) {
			which = append(which, name)
		}
	}
	if len(which) == 0 {
		return nil
	}
	finding := &Finding{
		Severity: Warning,
		What:     "the server is read-only: " + strings.Join(which, ", "),
		Why:      "writes fail (1290, 1836); after a failover a pool can keep connections to a server that is now a replica",
		Cure:     "set rejectReadOnly=true in the DSN: the driver then closes such a connection when a write is refused; a pool that only reads needs no cure",
	}
	if f.cfg != nil && f.cfg.RejectReadOnly {
		finding.Severity, finding.Cure = Info, ""
	}
	return finding
}

func galeraState(f *facts) *Finding {
	if f.galera == nil {
		return nil
	}
	component, node, ready := f.galera["wsrep_cluster_status"], f.galera["wsrep_local_state_comment"], f.galera["wsrep_ready"]
	if component == "Primary" && node == "Synced" && isOn(ready) {
		return nil
	}
	finding := &Finding{
		Severity: Warning,
		What:     fmt.Sprintf("this Galera node is %s in a %s component", node, component),
		Why:      "it lags behind the cluster, or is about to leave it",
		Cure:     "use a load balancer that checks for wsrep_local_state 4 (Synced): it sends no connections here",
	}
	if component != "Primary" || !isOn(ready) {
		finding.Severity, finding.Why = Error, "a node outside the primary component refuses every query with error 1047"
	}
	return finding
}

func galeraSyncWait(f *facts) *Finding {
	if f.galera == nil || f.session["wsrep_sync_wait"] != "0" {
		return nil
	}
	return &Finding{
		Severity: Info,
		What:     "wsrep_sync_wait is 0 in a Galera cluster",
		Why:      "if a pool reaches several nodes, a read can miss what was committed on another: 1062 on one node, and no row on the next, even for a locking read",
		Cure:     "use one node for all writes and the reads that belong to them; or set wsrep_sync_wait=1 in the DSN of a pool that needs it, which makes each read wait",
	}
}

// galeraPrepared reports what was seen on MariaDB 10.11 with Galera 4; see
// docs/servers.md.
func galeraPrepared(f *facts) *Finding {
	if f.galera == nil || f.cfg == nil || f.cfg.InterpolateParams {
		return nil
	}
	return &Finding{
		Severity: Warning,
		What:     "statements with arguments are prepared on the server, in a Galera cluster",
		Why:      "if another node's transaction wins while a statement is prepared, executed or closed, there is no error: what was written is gone, and COMMIT still succeeds",
		Cure:     "set interpolateParams=true in the DSN; or use mysqltx.Run, which notices; or send all writes to one node",
	}
}

func groupReplicationFormat(f *facts) *Finding {
	format := f.session[sysvar.BinlogFormat]
	if len(f.member) == 0 || format == "" || format == "ROW" {
		return nil
	}
	finding := &Finding{
		Severity: Error,
		What:     "this session of a replication group's member logs in " + format + " format",
		Why:      "the group refuses its writes with error 3098; it accepts only ROW",
		Cure:     f.takeOut(sysvar.BinlogFormat),
	}
	if f.global[sysvar.BinlogFormat] != "ROW" { // changed after the member had joined
		finding.Cure, finding.Commands = "log rows on each member: "+setGlobalReaches, f.rowLogging()
	}
	return finding
}

func groupReplicationState(f *facts) *Finding {
	if len(f.member) == 0 || f.member["member_state"] == "ONLINE" {
		return nil
	}
	return &Finding{
		Severity: Error,
		What:     "this member of a replication group is " + f.member["member_state"],
		Why:      "it has lost the group or is recovering: it refuses writes, and its data is old",
		Cure:     "start it again, there; a router that follows the group's membership sends no connections here",
		Commands: "START GROUP_REPLICATION;",
	}
}

// proxy finds a proxy by its name, or because it sends the statements of one
// connection to two sessions.
func proxy(f *facts) *Finding {
	finding := &Finding{
		Severity: Warning,
		Cure:     "set binlog=server in the DSN: the driver then sends SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED alone, which proxies follow",
	}
	comment := f.global["version_comment"]
	switch {
	case mentions(f.version+" "+comment, "proxysql", "maxscale"):
		finding.What = "an SQL proxy answers: " + strings.TrimSpace(f.version+" "+comment)
		finding.Why = "a proxy that cannot parse a SET binds the connection to one server, or sends the next statement to a session without it"
	case f.ids[0] != f.ids[1] && f.vitess == nil:
		finding.What = "two statements on one connection reached two sessions of the server (CONNECTION_ID() changed)"
		finding.Why = "a proxy shares sessions among connections, and has to carry each session's variables along"
	default:
		return nil
	}
	if f.leavesFormat() {
		finding.Severity, finding.Cure = Info, ""
	}
	return finding
}
