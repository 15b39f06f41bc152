package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/mysqlinit/mysqlinit/internal/oneline"
)

// screen writes lines, in colour if a terminal wants it.
type screen struct {
	w      io.Writer
	colour bool
	width  int // in columns
}

const (
	mostColumns  = 80
	leastColumns = 60 // narrower terminals break the lines
)

// columnWidth is the width of one of the two columns: " A… │ B… ".
func (s *screen) columnWidth() int { return (s.width - 5) / 2 }

func newScreen(w io.Writer) *screen {
	s := &screen{w: w, width: mostColumns}
	columns, err := strconv.Atoi(os.Getenv("COLUMNS"))
	if f, ok := w.(*os.File); ok {
		if err != nil {
			columns = terminalColumns(f)
		}
		info, err := f.Stat()
		terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
		s.colour = terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	if columns > 0 {
		s.width = min(max(columns, leastColumns), mostColumns)
	}
	return s
}

type style string

const (
	plain style = ""
	bold  style = "1"
	dim   style = "2"
	good  style = "32"
	bad   style = "31"
)

func (s *screen) paint(st style, text string) string {
	if !s.colour || st == plain {
		return text
	}
	return "\x1b[" + string(st) + "m" + text + "\x1b[0m"
}

// title begins a section.
func (s *screen) title(text string) {
	fmt.Fprintf(s.w, "\n%s\n%s\n", s.paint(bold, text), s.paint(dim, strings.Repeat("─", len([]rune(text)))))
}

// paragraph writes wrapped text.
func (s *screen) paragraph(st style, text string) {
	for _, line := range wrap(text, s.width-1) {
		fmt.Fprintln(s.w, s.paint(st, line))
	}
}

// thread is one of the two columns that a story is told in.
type thread int

const (
	threadA thread = iota
	threadB
)

// say writes wrapped text in a thread's column.
func (s *screen) say(t thread, st style, text string) {
	bar := s.paint(dim, "│")
	for _, line := range wrap(text, s.columnWidth()) {
		cell := s.paint(st, line)
		pad := strings.Repeat(" ", s.columnWidth()-len([]rune(line)))
		if t == threadA {
			fmt.Fprintf(s.w, " %s%s %s\n", cell, pad, bar)
		} else {
			fmt.Fprintf(s.w, " %s %s %s\n", strings.Repeat(" ", s.columnWidth()), bar, cell)
		}
	}
}

// clean makes a text that can come from a server safe for a terminal.
func clean(text string) string { return oneline.Text(text, 2000) }

// columns writes the headings of the two columns.
func (s *screen) columns(a, b string) {
	columnWidth := s.columnWidth()
	most := columnWidth - len("…")
	a, b = oneline.Text(a, most), oneline.Text(b, most)
	fmt.Fprintf(s.w, "\n %s%s %s %s\n", s.paint(bold, a), strings.Repeat(" ", columnWidth-len(a)), s.paint(dim, "│"), s.paint(bold, b))
	fmt.Fprintln(s.w, s.paint(dim, strings.Repeat("─", columnWidth+2)+"┼"+strings.Repeat("─", columnWidth+2)))
}

// wrap breaks text into lines. All are indented like the first.
func wrap(text string, width int) []string {
	text = clean(text)
	indent := text[:len(text)-len(strings.TrimLeft(text, " "))]
	var lines []string
	line := indent
	for _, word := range strings.Fields(text) {
		if len([]rune(line))+1+len([]rune(word)) > width && strings.TrimSpace(line) != "" {
			lines = append(lines, line)
			line = indent
		}
		if strings.TrimSpace(line) != "" {
			line += " "
		}
		line += word
		for runes := []rune(line); len(runes) > width; runes = []rune(line) {
			lines = append(lines, string(runes[:width]))
			line = indent + string(runes[width:])
		}
	}
	return append(lines, line)
}

// count writes 12345 as 12,345.
func count(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
