package main

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/mysqlinit/mysqlinit/inspect"
	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// This file makes the verdict and the exit code of a check.

// conclude removes the findings with these IDs, and gives the verdict.
func (c *checked) conclude(ignore []string) {
	all := len(c.Findings)
	c.Findings = slices.DeleteFunc(c.Findings, func(f inspect.Finding) bool { return slices.Contains(ignore, f.ID) })
	c.ignored = all - len(c.Findings)
	if c.Failure != nil {
		c.Verdict = "no result: " + c.Failure.Step + " failed"
		return
	}
	tally := map[inspect.Severity]int{}
	for _, f := range c.Findings {
		tally[f.Severity]++
	}
	c.Verdict = plural(tally[inspect.Error], "error") + ", " + plural(tally[inspect.Warning], "warning")
	if c.ignored > 0 {
		c.Verdict += fmt.Sprintf(", %d ignored", c.ignored)
	}
	c.Verdict += ": " + c.mainPoint()
}

// mainPoint is the finding that matters most, in a few words.
func (c *checked) mainPoint() string {
	if inspect.Worst(c.Findings) >= inspect.Warning {
		return c.Findings[0].What
	}
	for _, f := range c.Findings {
		if f.ID == "binlog-statement" { // the cure in this DSN has its price
			return f.What
		}
	}
	return "this DSN's sessions are in order"
}

// plainLoses reports whether get-or-create loses rows through the plain driver and
// not through this one. A program that still uses the plain driver is then not in
// order, whatever the verdict on this driver's sessions is.
func (c *checked) plainLoses() bool {
	return levelOf(c.Mysqlinit) == sql.LevelReadCommitted && levelOf(c.Plain) == sql.LevelRepeatableRead
}

// levelOf is sql.LevelDefault if there was no connection.
func levelOf(s *inspect.State) sql.IsolationLevel {
	if s == nil {
		return sql.LevelDefault
	}
	level, _ := sysvar.ParseLevel(s.Isolation)
	return level
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// failsOn is the value of -fail-on: the least severity that makes the command
// fail. It is 0 if none does.
type failsOn inspect.Severity

func (f *failsOn) String() string {
	if *f == 0 {
		return "never"
	}
	return inspect.Severity(*f).String()
}

func (f *failsOn) Set(text string) error {
	switch text {
	case "error":
		*f = failsOn(inspect.Error)
	case "warning":
		*f = failsOn(inspect.Warning)
	case "never":
		*f = 0
	default:
		return errors.New("want error, warning or never")
	}
	return nil
}

func (f failsOn) failed(findings []inspect.Finding) bool {
	return f != 0 && inspect.Worst(findings) >= inspect.Severity(f)
}
