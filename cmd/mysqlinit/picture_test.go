package main

import (
	"bytes"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// This file draws the pictures of docs/check.md from what the commands print.
// "make pictures" writes them. Without that, the tests compare.

// shown stands for what differs from run to run, in a length that wraps lines in
// the same way.
var shown = []struct{ match, instead string }{
	{`127\.0\.0\.1:[0-9]+`, "127.0.0.1:3306"},
	{`[0-9-]+T[0-9:]+Z`, "2026-11-27T12:00:00Z"},
	{`mysqlinit (\(devel\)|v[^ "\n]+)`, "mysqlinit v0.1.0"},
	{`[0-9]+\.[0-9]+\.[0-9]+-MariaDB[^, \n]*`, "10.11.14-MariaDB-log"},
	{`mysqlinit_race_[a-z0-9]{6}`, "mysqlinit_race_k3vq7d"},
}

func TestPictureOfCheck(t *testing.T) {
	s := testserver.New(t, testserver.Config{Binlog: "STATEMENT"})
	c := check(t.Context(), s.DSN(testserver.App, ""))
	c.conclude(nil)
	var out bytes.Buffer
	if err := c.print(&screen{w: &out, colour: true, width: 80}); err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(out.String(), "\n\n\x1b["+string(dim)+"minfo:")
	got := draw("mysqlinit check", "$ mysqlinit check -defaults-file ~/.my.cnf /test\n"+first+"\n\n⋮")
	if differs := difference(t, "check.svg", got, nil); differs != "" {
		t.Error(differs)
	}
}

func TestPictureOfRace(t *testing.T) {
	// MariaDB 11.6 and later answer the race with another error unless this is off.
	s := testserver.New(t, testserver.Config{Binlog: "MIXED", Args: []string{"--loose-innodb-snapshot-isolation=OFF"}})
	// The figures of the load differ from run to run. Now and then so does its text: a
	// deadlock has its own line, and on a busy machine nobody might meet.
	differs := ""
	for range 3 {
		if differs = difference(t, "race.svg", pictureOfRace(t, s), regexp.MustCompile(`[0-9][0-9,.]*`)); differs == "" {
			return
		}
	}
	t.Error(differs)
}

func pictureOfRace(t *testing.T, s *testserver.Server) string {
	t.Helper()
	var out bytes.Buffer
	if _, err := race(t.Context(), &screen{w: &out, colour: true, width: 80}, raceOptions{dsn: s.DSN(testserver.App, ""), workers: 16, keys: 50}); err != nil {
		t.Fatal(err)
	}
	act := func(number int) string {
		title := func(n int) string { return fmt.Sprintf("\x1b[%sm%d. ", bold, n) }
		_, text, _ := strings.Cut(out.String(), title(number))
		text, _, _ = strings.Cut(text, title(number+1))
		return title(number) + strings.TrimRight(text, "\n")
	}
	return draw("mysqlinit race", "$ mysqlinit race -defaults-file ~/.my.cnf /test\n⋮\n"+act(1)+"\n\n⋮\n\n"+act(3)+"\n\n⋮")
}

// difference compares the text of a picture with that of a file of docs, except for
// what a pattern matches. It returns "" if they are the same.
func difference(t *testing.T, name, got string, except *regexp.Regexp) string {
	t.Helper()
	path := filepath.Join("..", "..", "docs", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(file) > 60_000 {
		t.Errorf("%s has %d bytes", path, len(file))
	}
	linesOf := func(svg string) []string {
		text := html.UnescapeString(regexp.MustCompile("<[^>]*>").ReplaceAllString(svg, ""))
		if except != nil {
			text = except.ReplaceAllString(text, "#")
		}
		return strings.Split(text, "\n")
	}
	printed, drawn := linesOf(got), linesOf(string(file))
	same := 0
	for same < min(len(printed), len(drawn)) && printed[same] == drawn[same] {
		same++
	}
	if printed, drawn = printed[same:], drawn[same:]; len(printed)+len(drawn) > 0 {
		return fmt.Sprintf("%s is not what the command prints; make pictures draws it. After %d lines that are the same\ngot  %q\nwant %q", path, same, printed, drawn)
	}
	return ""
}

const (
	charWidth, lineHeight = 7.8, 18 // most fonts at 13 px
	margin, bar           = 16, 34
)

// colours are those of the picture for the styles of the screen.
var colours = map[style]string{plain: "", bold: ` font-weight="bold" fill="#ffffff"`, dim: ` fill="#8b949e"`, good: ` fill="#56d364"`, bad: ` fill="#ff7b72"`}

// words matches what can be drawn at one place: SVG has no rows of spaces.
var words = regexp.MustCompile(`\S+( \S+)*`)

var painted = regexp.MustCompile("\x1b\\[([0-9]+)m(.*?)\x1b\\[0m")

// draw returns an SVG picture of a terminal with a text in colours.
func draw(title, text string) string {
	for _, variable := range shown {
		text = regexp.MustCompile(variable.match).ReplaceAllString(text, variable.instead)
	}
	lines := strings.Split(text, "\n")
	width, height := 80*charWidth+2*margin, bar+len(lines)*lineHeight+margin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %d" width="%g" height="%d"`, width, height, width, height)
	fmt.Fprintf(&b, ` font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace" font-size="13" fill="#e6edf3">`+"\n")
	fmt.Fprintf(&b, "<title>%s</title>\n"+`<rect width="100%%" height="100%%" rx="8" fill="#0d1117"/>`+"\n", title)
	for i, colour := range []string{"#ff5f57", "#febc2e", "#28c840"} {
		fmt.Fprintf(&b, `<circle cx="%d" cy="17" r="5" fill="%s"/>`+"\n", margin+5+i*18, colour)
	}
	for i, line := range lines {
		y, column := bar+(i+1)*lineHeight-4, 0
		span := func(st style, text string) {
			for _, at := range words.FindAllStringIndex(text, -1) {
				before, part := text[:at[0]], text[at[0]:at[1]]
				// Its length is given, because not all fonts are equally wide.
				fmt.Fprintf(&b, `<text x="%g" y="%d" textLength="%g" lengthAdjust="spacingAndGlyphs"%s>%s</text>`+"\n",
					margin+charWidth*float64(column+utf8.RuneCountInString(before)), y, charWidth*float64(utf8.RuneCountInString(part)), colours[st], html.EscapeString(part))
			}
			column += utf8.RuneCountInString(text)
		}
		end := 0
		for _, at := range painted.FindAllStringSubmatchIndex(line, -1) {
			span(plain, line[end:at[0]])
			span(style(line[at[2]:at[3]]), line[at[4]:at[5]])
			end = at[1]
		}
		span(plain, line[end:])
	}
	b.WriteString("</svg>\n")
	return b.String()
}
