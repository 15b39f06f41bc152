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

// target is a figure that the project aims for, and what was measured.
type target struct {
	want, got string
	met       bool
}

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

	slowNetwork = "1 ms each way"

	newConnection  = "new connection"
	endlessContext = "new connection under a context that never ends"
)

func (m measured) name() string {
	short, _, _ := strings.Cut(m.version, "-")
	if strings.Contains(m.version, "MariaDB") {
		return "MariaDB " + short
	}
	return "MySQL " + short
}

func (m measured) timing(operation, latency string) timing {
	i := slices.IndexFunc(m.timings, func(t timing) bool { return t.operation == operation && t.latency == latency })
	return m.timings[i]
}

func (m measured) tripsOf(name string) trips {
	return m.trips[slices.IndexFunc(m.trips, func(t trips) bool { return t.name == name })]
}

// targets compares the measurements with the targets.
func (m measured) targets() (all []target) {
	add := func(want, got string, met bool) { all = append(all, target{want, got, met}) }
	bare, withVariable := m.tripsOf(ours).later, m.tripsOf("mysqlinit, a variable in the DSN").later
	base, inDSN := m.tripsOf(plain).later, m.tripsOf(variables).later
	add("bare DSN: 1 extra round trip over the plain driver", fmt.Sprintf("%d", bare-base), bare-base == 1)
	add("DSN with a variable: 0 extra over the plain driver with it", fmt.Sprintf("%d", withVariable-inDSN), withVariable == inDSN)
	least := true
	for _, t := range m.trips {
		least = least && (!t.prepares || bare <= t.later)
	}
	add("no way to a prepared session takes fewer round trips", fmt.Sprintf("%v", least), least)
	connect := m.timing(newConnection, "no proxy")
	toVariables, toSets := connect.ratioTo(ours, variables), connect.ratioTo(ours, twoSets)
	add("new connection: at most 1.05 × variables in the DSN", toVariables.ratio(), toVariables.median <= 1.05)
	add("new connection: at most 0.80 × two SETs", toSets.ratio(), toSets.median <= 0.80)
	connect = m.timing(endlessContext, "no proxy")
	toVariables, toSets = connect.ratioTo(ours, variables), connect.ratioTo(ours, twoSets)
	add(endlessContext+": at most 1.03 × variables in the DSN", toVariables.ratio(), toVariables.median <= 1.03)
	add(endlessContext+": at most 0.90 × two SETs", toSets.ratio(), toSets.median <= 0.90)
	for _, operation := range []string{"QueryRow", "prepared Exec", "1,000 rows"} {
		t := m.timing(operation, "no proxy")
		costsNothing := func(operation, name string) {
			t := m.timing(operation, "no proxy")
			ratio, more := t.ratioTo(name, plain), t.allocationsOf(name)-t.allocationsOf(plain)
			add(fmt.Sprintf("%s, %s: 1.00 within the noise, no extra allocation", operation, name),
				fmt.Sprintf("%s, %+.0f", ratio.ratio(), more), ratio.low <= 1.02 && more < 0.5)
		}
		costsNothing(operation, ours)
		costsNothing(operation, withGuard)
		costsNothing(operation+" in a transaction", withGuard)
		more := t.allocationsOf(withLayer) - t.allocationsOf(withSqlmw)
		ratio := t.ratioTo(withLayer, withSqlmw)
		add(operation+", interceptor: no more than sqlmw", fmt.Sprintf("%s, %+.0f", ratio.ratio(), more), ratio.low <= 1.02 && more < 0.5)
	}
	return all
}

// page returns the whole document. It shows the plots of that folder; with "" it shows none.
func page(all []measured, e effort, plots string) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p("# Performance\n\nMade by `make bench`; nothing in it is typed by hand. ")
	p("Run on %d CPUs%s, %s/%s, %s, %s. Server and client share these CPUs, and other work might too. So ratios are what counts. They come from samples taken in turns, ",
		runtime.NumCPU(), cpuName(), runtime.GOOS, runtime.GOARCH, runtime.Version(), modules())
	p("and have the 95 %% confidence interval of their median. A time has %d samples, each the median of up to %d calls on its own connection; storms and workers have %d. `make bench-quick` measures the same in less than a minute, less reliably.\n\n", e.samples, e.calls, e.storms)
	p("## Targets\n\n")
	for _, m := range all {
		p("### %s\n\n| wanted | measured | |\n|---|---|---|\n", m.name())
		for _, t := range m.targets() {
			p("| %s | %s | %s |\n", t.want, t.got, map[bool]string{true: "met", false: "**missed**"}[t.met])
		}
		loopback, slow := m.timing(newConnection, "no proxy"), m.timing(newConnection, slowNetwork)
		p("\nWith %s a new connection takes %s × variables in the DSN and %s × two SETs: round trips are what counts there. ",
			slowNetwork, slow.ratioTo(ours, variables).ratio(), slow.ratioTo(ours, twoSets).ratio())
		p("Without a network the work of client and server is what counts, and a SET is a small part of it. The SET that the driver itself sends for variables in the DSN takes %s × two SETs, and no other way can be faster. ",
			loopback.ratioTo(variables, twoSets).ratio())
		p("Your own SET after connecting makes the driver watch the context once more (AfterConnect: %s × variables in the DSN; mysqlinit with connectTimeout=0: %s). ",
			loopback.ratioTo(afterOwn, variables).ratio(), loopback.ratioTo(untimed, variables).ratio())
		endless := m.timing(endlessContext, "no proxy")
		p("The driver does not watch a context that never ends, and connectTimeout ends it. So the dialer watches it, and the driver watches it twice, and each time goroutines wake each other (under such a context mysqlinit takes %s × variables in the DSN, and %s with connectTimeout=0).\n\n",
			endless.ratioTo(ours, variables).ratio(), endless.ratioTo(untimed, variables).ratio())
	}
	p("## Round trips to a connection\n\nCounted by a proxy on the wire; the TCP handshake is one. The first connection of a pool sometimes has to learn what the server is.\n\n")
	for k, m := range all {
		p("### %s\n\n| | first | later | session |\n|---|--:|--:|---|\n", m.name())
		for _, t := range m.trips {
			p("| %s | %d | %d | %s |\n", t.name, t.first, t.later, t.session)
		}
		p("\n")
		image(&b, plots, k, "trips", "round trips to a connection")
	}
	p("## Time\n\nMedians in milliseconds, and ratios to the first line. A proxy adds the delay, each way.\n\n")
	for k, m := range all {
		p("### %s\n\n", m.name())
		for _, op := range operations {
			p("**%s**\n\n| |", op.name)
			for _, l := range latencies {
				p(" %s | ratio |", l.name)
			}
			p(" allocations |\n|---|%s--:|\n", strings.Repeat("--:|--:|", len(latencies)))
			for i, c := range op.contenders {
				p("| %s |", c.name)
				for _, l := range latencies {
					t := m.timing(op.name, l.name)
					ratio := ""
					if i > 0 {
						ratio = t.ratioTo(c.name, op.contenders[0].name).ratio()
					}
					p(" %s | %s |", t.milliseconds(c.name), ratio)
				}
				p(" %.0f |\n", m.timing(op.name, latencies[0].name).allocations[i])
			}
			p("\n")
		}
		image(&b, plots, k, "connect", "a new connection")
	}
	p("## Growth\n\n")
	for k, m := range all {
		p("### %s\n\n", m.name())
		p("**Seconds until connections that are opened at once are all ready**\n\n%s\n", m.storms.table("connections", "%.4f"))
		image(&b, plots, k, "storm", "a storm of connections")
		p("**The client's memory for each, in kB**\n\n%s\n", m.kilobytes.table("connections", "%.1f"))
		p("**Queries a second**\n\n%s\n", m.rates.table("workers", "%.0f"))
		image(&b, plots, k, "workers", "queries by workers")
	}
	p("## What it is for\n\nGet-or-create transactions, written by hand: the plain driver at REPEATABLE READ, the server's default, and mysqlinit at ")
	p("READ COMMITTED. Hot: all workers ask for the same new keys in the same order. Cold: each worker asks for its own keys. Per 10,000 transactions:\n\n")
	for k, m := range all {
		p("### %s\n\n", m.name())
		for _, load := range []struct {
			name  string
			fates [][]fate
		}{{"hot", m.purpose.hot}, {"cold", m.purpose.cold}} {
			p("**%s**\n\n| workers | | finished | row vanished | deadlock | transactions a second |\n|--:|---|--:|--:|--:|--:|\n", load.name)
			for w, fates := range load.fates {
				for i, f := range fates {
					p("| %d | %s | %.0f | %.0f | %.0f | %.0f |\n", raceWorkers[w], m.purpose.names[i],
						f.perTenThousand(f.finished), f.perTenThousand(f.vanished), f.perTenThousand(f.deadlocked), float64(f.total())/f.elapsed.Seconds())
				}
			}
			p("\n")
		}
		image(&b, plots, k, "lost", "transactions lost to a row that vanished")
	}
	return b.String()
}

func image(b *strings.Builder, plots string, k int, name, alt string) {
	if plots != "" {
		fmt.Fprintf(b, "![%s](%s)\n\n", alt, filepath.ToSlash(filepath.Join(plots, plotName(k, name))))
	}
}

func plotName(k int, name string) string {
	return name + "-" + []string{"mariadb", "mysql"}[k] + ".svg"
}

// table returns a Markdown table with a line for each size.
func (g grown) table(size, format string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | %s |\n|--:|%s\n", size, strings.Join(g.names, " | "), strings.Repeat("--:|", len(g.names)))
	for i, n := range g.sizes {
		fmt.Fprintf(&b, "| %d |", n)
		for _, v := range g.values[i] {
			fmt.Fprintf(&b, " "+format+" |", v.median)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// drawAll writes the plots into the folder.
func drawAll(folder string, all []measured) error {
	for k, m := range all {
		path := func(name string) string { return filepath.Join(folder, plotName(k, name)) }
		var names []string
		var counts []float64
		for _, t := range slices.Backward(m.trips) { // the first is drawn on top
			names, counts = append(names, t.name), append(counts, float64(t.later))
		}
		var ways []string
		var times []float64
		connect := m.timing(newConnection, slowNetwork)
		for _, name := range slices.Backward(connect.names) {
			ways, times = append(ways, name), append(times, estimateOf(connect.of(name)).median*1000)
		}
		var lost []line
		for i, name := range m.purpose.names {
			l := line{name: name}
			for w, fates := range m.purpose.hot {
				v := fates[i].perTenThousand(fates[i].vanished)
				l.xs, l.values = append(l.xs, float64(raceWorkers[w])), append(l.values, estimate{v, v, v})
			}
			lost = append(lost, l)
		}
		for _, err := range []error{
			drawBars(path("trips"), m.name()+": round trips to a later connection", "round trips", names, counts),
			drawBars(path("connect"), m.name()+": a new connection, "+slowNetwork, "ms", ways, times),
			drawLines(path("storm"), m.name()+": a storm of connections", "connections at once", "seconds until all are ready", true, m.storms.lines()),
			drawLines(path("workers"), m.name()+": SELECT 1", "workers", "queries a second", false, m.rates.lines()),
			drawLines(path("lost"), m.name()+": rows that vanished, hot keys", "workers", "per 10,000 transactions", false, lost),
		} {
			if err != nil {
				return err
			}
		}
	}
	return nil
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
