// The mysqlinit command shows what the driver mysqlinit is for, and what is wrong
// with a database.
//
//	mysqlinit race [-workers N] [-keys N] [DSN]
//	mysqlinit check [-json] [-fail-on SEVERITY] [-ignore ID,…] DSN
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/mysqlinit/mysqlinit/inspect"
)

const usage = `usage: mysqlinit race [-workers N] [-keys N] [DSN]
       mysqlinit check [-json] [-fail-on SEVERITY] [-ignore ID,…] DSN

race plays the get-or-create race against a real server, first through the plain
MySQL driver, then through mysqlinit: step by step, then under load. It shows
what READ COMMITTED costs. Last it shows a transaction of which one half is lost
and the other committed, and how the guard prevents that. It creates a table in
the DSN's database, works in it, and drops it. Without a DSN it starts a
throwaway server.
Exit code 1: the driver lost a transaction, or committed one half.

check shows the sessions that a DSN gives, what will go wrong with them and with
their server, why, and the cure. It only reads.
Exit code 1: there is a warning or an error (-fail-on, -ignore).

Exit code 2, from both: wrong usage, no server, or no connection.
`

// Exit codes.
const (
	exitOK       = 0
	exitLost     = 1 // race: the driver lost a transaction, or committed one half
	exitFindings = 1 // check: a warning or an error
	exitError    = 2 // wrong usage, no server, or no connection
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// commands are called with the arguments after their names. They return an exit
// code.
var commands = map[string]func(ctx context.Context, args []string, stdout, stderr io.Writer) int{
	"race":  raceCommand,
	"check": checkCommand,
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return exitError
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		fmt.Fprint(stdout, usage)
		return exitOK
	}
	command := commands[args[0]]
	if command == nil {
		fmt.Fprint(stderr, usage)
		return exitError
	}
	return command(ctx, args[1:], stdout, stderr)
}

func newFlags(command string, stderr io.Writer) *flag.FlagSet {
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage, "\n"); flags.PrintDefaults() }
	return flags
}

// parse reports whether the command should go on; if not, it should exit with
// code.
func parse(flags *flag.FlagSet, args []string) (code int, ok bool) {
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK, false
	case err != nil:
		return exitError, false
	}
	return 0, true
}

func raceCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := newFlags("race", stderr)
	workers := flags.Int("workers", 16, "`number` of transactions that race for each key")
	keys := flags.Int("keys", 50, "`number` of keys they race for")
	if code, ok := parse(flags, args); !ok {
		return code
	}
	if flags.NArg() > 1 || *workers < 2 || *keys < 1 {
		fmt.Fprintln(stderr, "mysqlinit race: want at most one DSN (after the flags), 2 workers or more, and 1 key or more")
		return exitError
	}
	kept, err := race(ctx, newScreen(stdout), flags.Arg(0), *workers, *keys)
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "mysqlinit race:", clean(err.Error()))
		return exitError
	case !kept:
		return exitLost
	}
	return exitOK
}

func checkCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := newFlags("check", stderr)
	asJSON := flags.Bool("json", false, "print JSON, as docs/check.md describes it")
	failOn := failsOn(inspect.Warning)
	flags.Var(&failOn, "fail-on", "exit with 1 from this `severity` on: error, warning or never")
	ignored := flags.String("ignore", "", "leave out the findings with these `IDs`, separated by commas")
	// The flag is also accepted after the DSN.
	if len(args) == 2 && (args[1] == "--json" || args[1] == "-json") {
		args[0], args[1] = args[1], args[0]
	}
	if code, ok := parse(flags, args); !ok {
		return code
	}
	if flags.NArg() != 1 {
		fmt.Fprintln(stderr, "mysqlinit check: want one DSN, such as 'user:password@tcp(127.0.0.1:3306)/database'")
		return exitError
	}
	c, err := check(ctx, flags.Arg(0))
	if err == nil {
		c.ignore(strings.Split(*ignored, ","))
		if *asJSON {
			err = c.writeJSON(stdout)
		} else {
			err = c.print(newScreen(stdout))
		}
	}
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "mysqlinit check:", clean(strings.TrimPrefix(err.Error(), "mysqlinit: ")))
		return exitError
	case failOn.failed(c.Findings):
		return exitFindings
	}
	return exitOK
}
