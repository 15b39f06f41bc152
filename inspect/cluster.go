package inspect

import (
	"fmt"
	"regexp"
	"strings"
)

// This file has the rules about servers that are one of several.

func readOnly(f *facts) Finding {
	var which []string
	for _, name := range []string{"read_only", "super_read_only", "innodb_read_only"} {
		if f.on(name) {
			which = append(which, name)
		}
	}
	if len(which) == 0 {
		return none
	}
	finding := Finding{
		Severity: Warning,
		What:     "the server is read-only: " + strings.Join(which, ", "),
		Why:      "writes fail (1290, 1836). After a failover a pool may keep connections to what is now a replica",
		Cure:     "rejectReadOnly=true in the DSN makes the driver close such a connection when a write is refused; for a pool that only reads this is as it should be",
	}
	if f.cfg != nil && f.cfg.RejectReadOnly {
		finding.Severity, finding.Cure = Info, ""
	}
	return finding
}

func galeraState(f *facts) Finding {
	if f.status == nil {
		return none
	}
	cluster, local, ready := f.status["wsrep_cluster_status"], f.status["wsrep_local_state_comment"], f.status["wsrep_ready"]
	if cluster == "Primary" && local == "Synced" && isOn(ready) {
		return none
	}
	finding := Finding{
		Severity: Warning,
		What:     fmt.Sprintf("this Galera node is %s in a %s component", local, cluster),
		Why:      "it lags behind the cluster, or is about to leave it",
		Cure:     "a load balancer that asks for wsrep_local_state 4 (Synced) sends no connections here",
	}
	if cluster != "Primary" || !isOn(ready) {
		finding.Severity, finding.Why = Error, "a node outside the primary component refuses every query with error 1047"
	}
	return finding
}

func galeraSyncWait(f *facts) Finding {
	if f.status == nil || f.session["wsrep_sync_wait"] != "0" {
		return none
	}
	return Finding{
		Severity: Info,
		What:     "wsrep_sync_wait is 0 in a Galera cluster",
		Why:      "where a pool reaches several nodes, a read may miss what was committed on another: 1062 on one node, and no row on the next, also for a locking read",
		Cure:     "one node for all writes and the reads that belong to them; or wsrep_sync_wait=1 in the DSN for a pool that needs it, which makes each read wait",
	}
}

// galeraPrepared: seen on MariaDB 10.11 with Galera 4, see docs/servers.md.
func galeraPrepared(f *facts) Finding {
	if f.status == nil || f.cfg == nil || f.cfg.InterpolateParams {
		return none
	}
	return Finding{
		Severity: Warning,
		What:     "statements with arguments are prepared on the server, in a Galera cluster",
		Why:      "where another node's transaction wins while one is prepared, executed or closed, no error comes: what was written is gone, and COMMIT still succeeds",
		Cure:     "interpolateParams=true in the DSN; or mysqltx.Run, which notices; or all writes to one node",
	}
}

func groupFormat(f *facts) Finding {
	format := f.session["binlog_format"]
	if len(f.member) == 0 || format == "" || format == "ROW" {
		return none
	}
	return Finding{
		Severity: Error,
		What:     "this session of a replication group's member logs in " + format + " format",
		Why:      "the group refuses its writes with error 3098; it takes ROW only",
		Cure:     "in my.cnf of each member: [mysqld] binlog_format = ROW",
	}
}

func groupState(f *facts) Finding {
	if len(f.member) == 0 || f.member["member_state"] == "ONLINE" {
		return none
	}
	return Finding{
		Severity: Error,
		What:     "this member of a replication group is " + f.member["member_state"],
		Why:      "it has lost the group or is recovering: it refuses writes, and what it shows is old",
		Cure:     "START GROUP_REPLICATION there; a router that follows the group's membership sends no connections here",
	}
}

var proxyComment = regexp.MustCompile(`(?i)proxysql|maxscale|vitess`)

func proxy(f *facts) Finding {
	cure := "binlog=server in the DSN: what is sent then is SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED alone, which proxies follow"
	switch comment := f.global["version_comment"]; {
	case proxyComment.MatchString(comment) || proxyComment.MatchString(f.version):
		return Finding{Severity: Warning, What: "an SQL proxy answers: " + strings.TrimSpace(f.version+" "+comment),
			Why: "a proxy that cannot parse a SET binds the connection to one server, or sends the next statement to a session without it", Cure: cure}
	case f.ids[0] != f.ids[1]:
		return Finding{Severity: Warning, What: "two statements on one connection reached two sessions of the server (CONNECTION_ID() changed)",
			Why: "something between shares sessions among connections, and has to carry each session's variables along", Cure: cure}
	}
	return none
}
