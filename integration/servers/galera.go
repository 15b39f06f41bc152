package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/mysqlinit/mysqlinit/integration/conformance"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// Galera is a cluster whose nodes certify each other's transactions.
var Galera = Kind{
	Name:  "Galera",
	About: "MariaDB 10.11: three nodes, all of which take writes; no binary log; `interpolateParams=true`, see below",
	Facts: conformance.Facts{Isolation: "tx_isolation", Format: "ROW", Race: conformance.Vanished, Wsrep: true, FixedFormat: 1231, Conflicts: []uint16{1213}},
	start: startGalera,
}

// clusterNodes is how many nodes Galera and Group Replication have.
const clusterNodes = 3

func startGalera(ctx context.Context, d *Deployment) error {
	// Another node's transaction can end this node's transaction while the client prepares or
	// closes a statement. The server then drops the error, and the next statement runs as if
	// nothing had happened, with the plain driver too. Without prepared statements each such
	// transaction gets its error 1213.
	d.params = "interpolateParams=true"
	folder, err := fetch(ctx, mariadb1011.fetch)
	if err != nil {
		return err
	}
	members, err := freeAddrs(clusterNodes)
	if err != nil {
		return err
	}
	const bootstrap = "--wsrep-cluster-address=gcomm://"
	join := bootstrap + strings.Join(members, ",")
	seed, err := startGaleraNode(ctx, folder, members[0], bootstrap, nil)
	if err != nil {
		return err
	}
	defer func() { _ = seed.Stop() }()
	if err := seed.shutDown(ctx); err != nil {
		return err
	}
	for i, member := range members {
		address := join
		if i == 0 {
			address = bootstrap
		}
		n, err := startGaleraNode(ctx, folder, member, address, seed)
		if err != nil {
			return err
		}
		d.Nodes = append(d.Nodes, n)
		n.rejoin = func(ctx context.Context, args []string) error { return n.rejoinGalera(ctx, append(args, join)) }
	}
	return d.Nodes[0].awaitValue(ctx, "SHOW STATUS LIKE 'wsrep_cluster_size'", fmt.Sprint(clusterNodes))
}

// startGaleraNode starts a node with a copy of the seed's data, or without data if seed is
// nil.
func startGaleraNode(ctx context.Context, folder, member, address string, seed *Node) (*Node, error) {
	program, err := mariadb1011.program(ctx)
	if err != nil {
		return nil, err
	}
	receive, err := freeAddrs(1)
	if err != nil {
		return nil, err
	}
	s, err := testserver.Start(ctx, testserver.Config{
		Program: program,
		Args: []string{
			"--wsrep-on=ON", "--wsrep-provider=" + filepath.Join(folder, "usr/lib/galera/libgalera_smm.so"),
			"--wsrep-cluster-name=mysqlinit", "--wsrep-node-address=127.0.0.1", address,
			"--wsrep-provider-options=gmcast.listen_addr=tcp://" + member + ";ist.recv_addr=" + receive[0] + ";gcache.size=32M;" +
				"evs.keepalive_period=PT0.5S;evs.suspect_timeout=PT2S;evs.inactive_timeout=PT6S",
			"--wsrep-sst-method=" + sstMethod, "--binlog-format=ROW", "--innodb-autoinc-lock-mode=2",
		},
		Env: []string{"PATH=.:" + os.Getenv("PATH")},
		Prepare: func(data string) error {
			if seed != nil {
				if err := errors.Join(os.RemoveAll(data), os.CopyFS(data, os.DirFS(filepath.Join(seed.Folder, "data")))); err != nil {
					return err
				}
			}
			return os.WriteFile(filepath.Join(data, "wsrep_sst_"+sstMethod), []byte(sstScript), 0o700)
		},
	})
	if err != nil {
		return nil, err
	}
	n := &Node{Server: s}
	if err := n.awaitValue(ctx, "SHOW STATUS LIKE 'wsrep_local_state_comment'", "Synced"); err != nil {
		return nil, errors.Join(err, n.Stop())
	}
	return n, nil
}

// shutDown ends the server cleanly, so that its data contains its position in the cluster's
// history.
func (n *Node) shutDown(ctx context.Context) error {
	if err := n.exec(ctx, "SHUTDOWN"); err != nil {
		return err
	}
	select {
	case <-n.Ended():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sstMethod names the method to send a node the data of another node. All nodes start from
// copies of the seed's data, so another node always has what they lack in its write-set
// cache. The data itself need not be sent, which would take rsync and a user other than
// root. But the server always runs the method's script: it looks for it on the PATH and
// runs it in its data folder. This script only passes on where the missing write-sets
// begin.
const sstMethod = "cache"

const sstScript = `#!/bin/sh
while [ $# -gt 0 ]; do
	case $1 in
	--role) role=$2 ;;
	--address) address=$2 ;;
	--gtid) gtid=$2 ;;
	--bypass) bypass=1 ;;
	esac
	shift
done
if [ "$role" = joiner ]; then
	rm -f sst
	mkfifo sst
	echo "ready $PWD/sst"
	cat sst
elif [ -n "${bypass:-}" ]; then
	echo "$gtid" >"$address"
	echo "done $gtid"
else
	echo "the write-set cache does not reach back far enough" >&2
	exit 1
fi
`

// rejoinGalera starts a node from its last position, as mysqld_safe does. The node gets
// what it missed from another node's write-set cache.
func (n *Node) rejoinGalera(ctx context.Context, args []string) error {
	if err := n.Kill(); err != nil {
		return err
	}
	recover := exec.CommandContext(ctx, n.Argv[0], append(n.Argv[1:len(n.Argv):len(n.Argv)], "--wsrep-recover")...)
	output, err := recover.CombinedOutput()
	position := regexp.MustCompile(`Recovered position: (\S+:\d+)`).FindSubmatch(output)
	if position == nil {
		return fmt.Errorf("%s --wsrep-recover found no position: %v\n%s", n.Argv[0], err, bytes.TrimSpace(output))
	}
	if err := n.Server.Restart(ctx, append(args, "--wsrep-start-position="+string(position[1]))...); err != nil {
		return err
	}
	return n.awaitValue(ctx, "SHOW STATUS LIKE 'wsrep_local_state_comment'", "Synced")
}
