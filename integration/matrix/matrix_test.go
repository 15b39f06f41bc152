//go:build matrix

package matrix

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/mysqlinit/mysqlinit/integration/conformance"
	"github.com/mysqlinit/mysqlinit/integration/servers"
	"github.com/mysqlinit/mysqlinit/internal/document"
)

var update = flag.String("update", "", "write the table into this document, between its marks")

func TestMatrix(t *testing.T) {
	var columns []column
	command := buildCommand(t)
	for _, k := range servers.Kinds {
		t.Run(k.Name, func(t *testing.T) { columns = append(columns, run(t, k, command)) })
	}
	fmt.Print(plain(columns))
	if *update == "" || len(columns) < len(servers.Kinds) { // -run has selected some kinds
		return
	}
	if err := document.Replace(*update, beginMark, endMark, markdown(columns)+"\n"); err != nil {
		t.Error(err)
	}
}

// The suite runs on a server about which it knows only two DSNs.
func TestAnyServer(t *testing.T) {
	target := servers.New(t, servers.MariaDB105).Target()
	conformance.Run(t, conformance.Target{Root: target.Root, App: target.App})
}

// column is what a run found on one deployment.
type column struct {
	servers.Kind
	version string // or why there is no server
	cells   []conformance.Result
}

// run checks one deployment.
func run(t *testing.T, k servers.Kind, command string) column {
	c := column{Kind: k}
	d, err := k.Start(t.Context())
	switch {
	case errors.Is(err, servers.ErrNotToBeHad):
		c.version = "not available"
		if os.Getenv("CI") == "" {
			t.Log(err)
			return c
		}
	case err != nil:
		c.version = "did not start"
	}
	if err != nil {
		t.Error(err)
		return c
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	})
	c.version, _, _ = strings.Cut(d.Version, "-") // without the packager's suffix
	checkGolden(t, d, command)
	c.cells = conformance.Run(t, d.Target())
	return c
}

// rows returns the table's rows. The first is the head.
func rows(columns []column) [][]string {
	head, version := []string{""}, []string{"version"}
	for _, c := range columns {
		head = append(head, c.Name)
		version = append(version, c.version)
	}
	table := [][]string{head, version}
	for i, check := range conformance.Checks() {
		row := []string{check}
		for _, c := range columns {
			cell := ""
			if i < len(c.cells) {
				cell = c.cells[i].Cell
			}
			row = append(row, cell)
		}
		table = append(table, row)
	}
	return table
}

// markdown returns the table for the document.
func markdown(columns []column) string {
	var b strings.Builder
	for i, row := range rows(columns) {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(&b, "|%s\n", strings.Repeat("---|", len(row)))
		}
	}
	b.WriteString("\n")
	for _, c := range columns {
		fmt.Fprintf(&b, "- **%s**: %s.\n", c.Name, c.About)
	}
	return b.String()
}

// plain returns the table for a terminal. It has a block for each server, since a row with
// all servers would be too wide.
func plain(columns []column) string {
	var b strings.Builder
	for _, c := range columns {
		fmt.Fprintf(&b, "%s: %s\n", c.Name, c.version)
		for _, cell := range c.cells {
			fmt.Fprintf(&b, "  %-36s %s\n", cell.Check, cell.Cell)
		}
	}
	return b.String()
}

const (
	beginMark = "<!-- table: made by make matrix -->"
	endMark   = "<!-- end of table -->"
)
