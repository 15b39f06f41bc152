// The mysqlinit command shows what the driver of that name is for.
//
//	mysqlinit race [-workers N] [-keys N] [DSN]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: mysqlinit race [-workers N] [-keys N] [DSN]

Plays the get-or-create race against a real server, first through the plain
MySQL driver, then through mysqlinit: step by step, then under load, then what
READ COMMITTED costs. It works in a table of its own, which it creates in the
DSN's database and drops. Without a DSN it starts a throwaway server.

`

// Exit codes.
const (
	exitOK    = 0
	exitLost  = 1 // the driver did not keep its promise
	exitError = 2 // wrong usage, no server, or no connection
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] != "race" {
		if len(args) > 0 && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help" || args[0] == "help") {
			fmt.Fprint(stdout, usage)
			return exitOK
		}
		fmt.Fprint(stderr, usage)
		return exitError
	}
	flags := flag.NewFlagSet("race", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage); flags.PrintDefaults() }
	workers := flags.Int("workers", 16, "`number` of transactions that race for each key")
	keys := flags.Int("keys", 200, "`number` of keys they race for")
	if err := flags.Parse(args[1:]); errors.Is(err, flag.ErrHelp) {
		return exitOK
	} else if err != nil {
		return exitError
	}
	if flags.NArg() > 1 || *workers < 2 || *keys < 1 {
		fmt.Fprintln(stderr, "mysqlinit race: it takes one DSN at most (behind the flags), 2 workers or more and 1 key or more")
		return exitError
	}
	kept, err := race(ctx, newScreen(stdout), flags.Arg(0), *workers, *keys)
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "mysqlinit race:", err)
		return exitError
	case !kept:
		return exitLost
	}
	return exitOK
}
