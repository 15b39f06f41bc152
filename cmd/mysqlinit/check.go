package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/inspect"
)

// checkTimeout bounds the whole of a check, for the plain driver has no
// connectTimeout.
const checkTimeout = time.Minute

// checkVersion is that of the JSON document. A new field does not change it.
const checkVersion = 1

const docs = "https://github.com/mysqlinit/mysqlinit/blob/main/docs/dsn.md"

// checked is what a check has found. docs/check.md describes its JSON.
type checked struct {
	Version   int               `json:"version"`
	Mysqlinit *inspect.State    `json:"mysqlinit"` // the session through this driver; null: it refused
	Plain     *inspect.State    `json:"plain"`     // the session through the MySQL driver with the same DSN; null: the server refused
	Server    inspect.Server    `json:"server"`
	Global    inspect.State     `json:"global"`
	BinaryLog bool              `json:"binary_log"`
	MaySet    bool              `json:"may_set_binlog_format"`
	Replica   string            `json:"replica"`
	Findings  []inspect.Finding `json:"findings"`
}

// check inspects the sessions that a DSN gives, through this driver and through
// the MySQL driver alone.
func check(ctx context.Context, dsn string) (*checked, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	prepared, err := mysqlinit.Open(dsn)
	if err != nil {
		return nil, err
	}
	defer prepared.Close()
	cfg, err := plainConfig(dsn)
	if err != nil {
		return nil, err
	}
	plain, err := openConfig(cfg)
	if err != nil {
		return nil, err
	}
	defer plain.Close()

	plainReport, plainErr := inspect.Session(ctx, plain, inspect.WithConfig(cfg))
	preparedReport, preparedErr := inspect.Session(ctx, prepared, inspect.WithConfig(cfg))
	refused, isRefusal := errors.AsType[*mysqlinit.InitError](preparedErr)
	c := &checked{Version: checkVersion}
	report := preparedReport
	var more []inspect.Finding
	switch {
	case preparedErr == nil && plainErr == nil:
	case preparedErr == nil:
		more = append(more, plainRefusal(plainErr))
	case isRefusal && plainErr == nil:
		report = plainReport
		more = append(more, refusal(refused))
	default:
		return nil, preparedErr
	}
	if preparedReport != nil {
		c.Mysqlinit = &preparedReport.Session
	}
	if plainReport != nil {
		c.Plain = &plainReport.Session
	}
	c.Server, c.Global, c.BinaryLog = report.Server, report.Global, report.BinaryLog
	c.MaySet, c.Replica = report.MaySetBinlogFormat, report.Replica
	c.Findings = append(report.Findings, more...)
	inspect.Sort(c.Findings)
	return c, nil
}

// plainRefusal is the finding that the plain driver cannot connect: mostly for a
// variable that this server has under another name.
func plainRefusal(err error) inspect.Finding {
	return inspect.Finding{
		ID:       "plain-refuses",
		Severity: inspect.Info,
		What:     "with this DSN the plain MySQL driver gives no connection",
		Why:      err.Error(),
		Cure:     "where other programs share the DSN: variables that this server knows by these names and takes",
		Source:   docs,
	}
}

// refusal is the finding that the driver returns an error instead of a connection.
func refusal(err *mysqlinit.InitError) inspect.Finding {
	cure := err.Cure
	if cure == "" {
		cure = "make that statement work for this account, or take it out of the DSN"
	}
	return inspect.Finding{
		ID:       "driver-refuses",
		Severity: inspect.Error,
		What:     "with this DSN the driver mysqlinit gives no connection",
		Why:      strings.TrimPrefix(strings.TrimSuffix(err.Error(), ". Cure: "+err.Cure), "mysqlinit: "),
		Cure:     cure,
		Source:   docs,
	}
}

// needsAttention tells whether there is a warning or an error.
func (c *checked) needsAttention() bool { return inspect.Worst(c.Findings) >= inspect.Warning }

func (c *checked) writeJSON(w io.Writer) error {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(c); err != nil {
		return err
	}
	_, err := io.WriteString(w, escape(b.String()))
	return err
}

// escape writes what a terminal would obey as JSON does; package json leaves
// most of it as it is. Outside strings there is none of it.
func escape(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) || r == '\n' {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

func (c *checked) print(out *screen) error {
	var b strings.Builder
	database := "no database"
	if c.Server.Database != "" {
		database = "database " + c.Server.Database
	}
	fmt.Fprintf(&b, "server    %s %s, %s, as %s\n", c.Server.Vendor, clean(c.Server.Version), clean(database), clean(c.Server.Account))
	session := func(label string, s *inspect.State) {
		text := "no connection"
		if s != nil {
			text = s.Isolation
			if s.BinlogFormat != "" {
				text += ", binlog_format " + s.BinlogFormat
			}
		}
		fmt.Fprintf(&b, "%-9s %s\n", label, clean(text))
	}
	session("mysqlinit", c.Mysqlinit)
	session("plain", c.Plain)
	log := "off"
	if c.BinaryLog {
		log = "on"
	}
	fmt.Fprintf(&b, "log_bin   %s\n", log)
	tally := map[inspect.Severity]int{}
	for _, f := range c.Findings {
		tally[f.Severity]++
		fmt.Fprintf(&b, "\n%s %s %s\n", out.paint(severityStyles[f.Severity], f.Severity.String()+":"), out.paint(bold, clean(f.What)), out.paint(dim, "["+f.ID+"]"))
		for _, part := range []struct{ label, text string }{{"why", f.Why}, {"cure", f.Cure}} {
			if part.text == "" {
				continue
			}
			for i, line := range wrap(part.text, width-8) {
				label := ""
				if i == 0 {
					label = part.label
				}
				fmt.Fprintf(&b, "  %-5s %s\n", label, line)
			}
		}
		fmt.Fprintf(&b, "  see   %s\n", f.Source) // whole, so that it can be clicked
	}
	fmt.Fprintf(&b, "\n%s, %s, %d info\n", plural(tally[inspect.Error], "error"), plural(tally[inspect.Warning], "warning"), tally[inspect.Info])
	_, err := io.WriteString(out.w, b.String())
	return err
}

var severityStyles = map[inspect.Severity]style{inspect.Info: dim, inspect.Warning: bold, inspect.Error: bad}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
