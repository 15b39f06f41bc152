package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
)

const (
	plain     = "plain driver"
	variables = "plain driver, variables in the DSN"
	twoSets   = "two SETs after connecting"
	afterOwn  = "your own AfterConnect, one SET"
	ours      = "mysqlinit"
	untimed   = "mysqlinit, connectTimeout=0"
	withGuard = "mysqlinit, guard"
	withLayer = "mysqlinit, interceptor"
	withSqlmw = "sqlmw"

	oursVariable = "mysqlinit, a variable in the DSN"

	loopback       = "no proxy"
	slowNetwork    = "1 ms each way"
	slowestNetwork = "10 ms each way"

	newConnection  = "new connection"
	endlessContext = "new connection under a context that never ends"
	queryRowName   = "QueryRow"
	preparedName   = "prepared Exec"
	rowsName       = "1,000 rows"
	inTx           = " in a transaction"
)

// queries are the operations that the guard watches in a transaction too.
var queries = []string{queryRowName, preparedName, rowsName}

func (m measured) name() string {
	short, _, _ := strings.Cut(m.Version, "-")
	if strings.Contains(m.Version, "MariaDB") {
		return "MariaDB " + short
	}
	return "MySQL " + short
}

func (m measured) timing(operation, latency string) timing {
	i := slices.IndexFunc(m.Timings, func(t timing) bool { return t.Operation == operation && t.Latency == latency })
	return m.Timings[i]
}

func (m measured) tripsOf(name string) trips {
	return m.Trips[slices.IndexFunc(m.Trips, func(t trips) bool { return t.Name == name })]
}

// page returns the whole document. It shows the plots of that folder; with "" it shows none.
func (r report) page(plots string) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	eachServer := func(section func(k int, m measured)) {
		for k, m := range r.Servers {
			p("### %s\n\n", m.name())
			section(k, m)
		}
	}
	p("# Performance\n\nWhat mysqlinit saves and what it costs. `make bench` measures it and writes this page. ")
	p("A ratio stands with the 95 %% confidence interval of its median.\n\n%s\n\n%s", inShort(r.Servers), summary(r.Servers))
	p("A connection pays once, when it opens. After that the pool holds the plain driver's own connection. With the guard, the connection in the pool looks at each statement as it passes.\n\n")
	p("[What it saves](#what-it-saves) · [Round trips](#round-trips-to-a-connection) · [Time](#time) · [Growth](#growth) · [How it is measured](#how-it-is-measured) · [Targets](#targets)\n\n")

	p("## What it saves\n\nWorkers get or create rows with code written by hand, each row in a transaction: SELECT, INSERT if there is no row, SELECT again if the INSERT meets a duplicate key. ")
	p("The plain driver's sessions are REPEATABLE READ, the server's default; mysqlinit's are READ COMMITTED. A transaction is lost if it ends with an error: its row has vanished (the last SELECT finds nothing), or a deadlock. ")
	p("Medians of %d runs of up to %d transactions; in parentheses the least and the most of the runs. Lost ones are counted out of 10,000.\n\n", r.Effort.Runs, r.Effort.Transactions)
	p("**Which speed counts.** A lost transaction is quick: it sends no COMMIT. At READ COMMITTED a transaction that meets a duplicate key goes on, finds the row and commits. ")
	p("So \"rows a second\" counts the transactions that got their row, found or created, and not those that failed. A program has to run the lost ones again, and that time is not in the table. If the interval of a ratio contains 1, no difference was seen.\n\n")
	eachServer(func(k int, m measured) {
		r.image(&b, plots, k, "lost", "transactions lost, by number of workers: the plain driver and mysqlinit")
		p("**Hot**: all workers ask for the same new rows in the same order.\n\n%s", m.hotTable())
		p("**Cold**: each worker asks for new rows that no other asks for.\n\n%s", m.coldTable())
	})

	p("## Round trips to a connection\n\nCounted by a proxy on the wire; the TCP handshake is one. The first connection of a pool sometimes has to learn what the server is.\n\n")
	eachServer(func(k int, m measured) {
		p("| | first | later | session |\n|---|--:|--:|---|\n")
		for _, t := range m.Trips {
			p("| %s | %d | %d | %s |\n", t.Name, t.First, t.Later, t.Session)
		}
		p("\n")
		r.image(&b, plots, k, "trips", "round trips to a connection")
	})

	p("## Time\n\nMedians in milliseconds, and ratios to the first line. A proxy adds the delay, each way. The longer the network takes, the more a ratio is one of round trips.\n\n")
	eachServer(func(k int, m measured) {
		for _, op := range operations {
			b.WriteString(m.timeTable(op))
		}
		r.image(&b, plots, k, "connect", "time of a new connection")
	})

	p("## Growth\n\n")
	eachServer(func(k int, m measured) {
		p("**Seconds until connections that are opened at once are all ready**\n\n%s\n", m.Storms.table("connections", "%.4f"))
		r.image(&b, plots, k, "storm", "a storm of connections")
		p("**The client's memory for each, in kB**\n\n%s\n", m.Kilobytes.table("connections", "%.1f"))
		p("**Queries a second**, and the ratio to the plain driver's\n\n%s\n", m.Rates.ratioTable("workers", "%.0f"))
		r.image(&b, plots, k, "workers", "queries a second, by number of workers")
	})

	p("## How it is measured\n\n%s. Server and client share these CPUs, and other work might too, so ratios are what counts. ", r.Machine)
	p("They come from samples that are taken in turns, and are computed round by round. A time has %d samples (%d with %s), each the median of up to %d calls on its own connection; storms and workers have %d. ", r.Effort.Samples, r.Effort.Samples/slowFewer, slowestNetwork, r.Effort.Calls, r.Effort.Rounds)
	p("`make bench-quick` measures the same in less than a minute, less reliably. [bench](../bench) has the code.\n\n")

	p("## Targets\n\nWhat the project wants of itself. A target is met if the median meets it. It is in the noise if only the interval reaches it. \"1.00 ×\" and \"no more than\" are met if the interval begins at 1.02 or below.\n\n")
	eachServer(func(_ int, m measured) { b.WriteString(m.targetTable()) })
	return strings.TrimSuffix(b.String(), "\n")
}

// timeTable returns the times of an operation on all networks.
func (m measured) timeTable(op operation) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p("**%s**\n\n| |", op.name)
	for _, l := range latencies {
		p(" %s | ratio |", l.name)
	}
	p(" allocations |\n|---|%s--:|\n", strings.Repeat("--:|--:|", len(latencies)))
	for i, name := range m.timing(op.name, loopback).Names {
		p("| %s |", name)
		for _, l := range latencies {
			t := m.timing(op.name, l.name)
			ratio := ""
			if i > 0 {
				ratio = t.RatioTo(name, t.Names[0]).String()
			}
			p(" %.3f | %s |", t.Median(name)*1000, ratio)
		}
		p(" %.0f |\n", m.timing(op.name, loopback).allocationsOf(name))
	}
	p("\n")
	return b.String()
}

func (r report) image(b *strings.Builder, plots string, k int, name, alt string) {
	if plots != "" {
		fmt.Fprintf(b, "![%s: %s](%s)\n\n", r.Servers[k].name(), alt, filepath.ToSlash(filepath.Join(plots, plotName(k, name))))
	}
}

func plotName(k int, name string) string {
	return name + "-" + []string{"mariadb", "mysql"}[k] + ".svg"
}

// table returns a Markdown table with a line for each size.
func (g grown) table(size, format string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | %s |\n|--:|%s\n", size, strings.Join(g.names(), " | "), strings.Repeat("--:|", len(g.names())))
	for i, n := range g.Sizes {
		fmt.Fprintf(&b, "| %d |", n)
		for _, name := range g.names() {
			fmt.Fprintf(&b, " "+format+" |", g.At[i].Median(name))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// ratioTable is table with the ratio to the first contender after each of the others.
func (g grown) ratioTable(size, format string) string {
	var b strings.Builder
	first, others := g.names()[0], g.names()[1:]
	fmt.Fprintf(&b, "| %s | %s | %s | ratio |\n|--:|--:|%s\n", size, first, strings.Join(others, " | ratio | "), strings.Repeat("--:|--:|", len(others)))
	for i, n := range g.Sizes {
		fmt.Fprintf(&b, "| %d | "+format+" |", n, g.At[i].Median(first))
		for _, name := range others {
			fmt.Fprintf(&b, " "+format+" | %s |", g.At[i].Median(name), g.At[i].RatioTo(name, first))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// machine names what the measurements are made on and with.
func machine() string {
	return fmt.Sprintf("%d CPUs%s, %s/%s, %s, %s", runtime.NumCPU(), cpuName(), runtime.GOOS, runtime.GOARCH, runtime.Version(), modules())
}

// modules names the versions that were measured.
func modules() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var found []string
	for _, m := range info.Deps {
		for _, name := range []string{"github.com/go-sql-driver/mysql", "github.com/XSAM/otelsql", "gorm.io/gorm"} {
			if m.Path == name {
				found = append(found, filepath.Base(name)+" "+m.Version)
			}
		}
	}
	return strings.Join(found, ", ")
}

// cpuName returns the processor's name, or "" if the system doesn't report it.
func cpuName() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for l := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == "model name" {
			return " (" + strings.TrimSpace(value) + ")"
		}
	}
	return ""
}
