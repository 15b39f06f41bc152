// Package docs has the tests of the documents and of the doc comments. It has no
// other code.
package docs

import (
	"fmt"
	"log"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	fence      = regexp.MustCompile("(?ms)^ *```(\\w*)\n(.*?)^ *```$")
	inlineCode = regexp.MustCompile("`[^`\n]*`")
	heading    = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	// [text](target), and the definition of a [name]: target.
	link = regexp.MustCompile(`\]\(([^)\s]+)\)|(?m)^\[[^\]]+\]: (\S+)$`)
)

// TestMain moves to the root of the repository, so that every test names files as
// the documents' readers do.
func TestMain(m *testing.M) {
	if err := os.Chdir(".."); err != nil {
		log.Fatal(err)
	}
	os.Exit(m.Run())
}

// documents returns the text of each Markdown file of the repository by the file's
// name.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	walk(t, func(name string) {
		if filepath.Ext(name) == ".md" {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			texts[filepath.ToSlash(name)] = string(text)
		}
	})
	if len(texts) < 10 {
		t.Fatalf("found only %d documents", len(texts))
	}
	return texts
}

// TestDocsCodeCompiles looks for each block of Go of a document in the Go files, which
// the compiler has read. Indentation and alignment do not count. A blank line or a line
// of "…" stands for code that is left out, and the parts around it can come from
// different files.
func TestDocsCodeCompiles(t *testing.T) {
	var compiled strings.Builder
	walk(t, func(name string) {
		// As text, so that files with build tags count too.
		if filepath.Ext(name) == ".go" && filepath.ToSlash(name) != "docs/docs_test.go" {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&compiled, "\n%s\n", flat(string(text)))
		}
	})
	blocks := 0
	for name, text := range documents(t) {
		for _, block := range fence.FindAllStringSubmatch(text, -1) {
			if block[1] != "go" {
				continue
			}
			blocks++
			for part := range strings.SplitSeq(strings.ReplaceAll("\n"+flat(block[2])+"\n", "\n…\n", "\n\n"), "\n\n") {
				part = strings.Trim(part, "\n")
				if !strings.Contains(compiled.String(), "\n"+part+"\n") {
					t.Errorf("%s: no Go file has this code: put it into an example, or write … for what is left out\n%s", name, part)
				}
			}
		}
	}
	if blocks < 10 {
		t.Errorf("found only %d blocks of Go", blocks)
	}
}

// flat removes indentation and alignment from a text.
func flat(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.Join(strings.Fields(line), " ")
	}
	return strings.Join(lines, "\n")
}

func TestDocsLinksLeadSomewhere(t *testing.T) {
	texts := documents(t)
	for name, text := range texts {
		for _, target := range links(text) {
			to, anchor, err := resolve(name, target)
			if err != nil {
				t.Errorf("%s: %s: %v", name, target, err)
				continue
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %s leads to no file", name, target)
			} else if linked, ok := texts[to]; anchor != "" && (!ok || !anchors(linked)[anchor]) {
				t.Errorf("%s: %s leads to no heading of %s", name, target, to)
			}
		}
	}
}

func TestDocsIndexNamesEachDocument(t *testing.T) {
	const index = "docs/README.md"
	texts := documents(t)
	named := map[string]bool{index: true}
	for _, target := range links(texts[index]) {
		to, _, _ := resolve(index, target)
		named[to] = true
	}
	for name := range texts {
		if strings.HasPrefix(name, "docs/") && !named[name] {
			t.Errorf("%s has no line for %s", index, name)
		}
	}
	if !strings.Contains(texts["README.md"], "("+index+")") {
		t.Errorf("README.md does not lead to %s", index)
	}
	if lines := strings.Count(texts["README.md"], "\n"); lines > 150 {
		t.Errorf("README.md has %d lines, more than 150: move some to docs", lines)
	}
}

// links returns the targets of a document's links into the repository.
func links(text string) (targets []string) {
	text = inlineCode.ReplaceAllString(fence.ReplaceAllString(text, ""), "")
	for _, match := range link.FindAllStringSubmatch(text, -1) {
		if target := match[1] + match[2]; !strings.Contains(target, "://") && !strings.HasPrefix(target, "mailto:") {
			targets = append(targets, target)
		}
	}
	return targets
}

// resolve returns the file and the anchor that a link of a document leads to.
func resolve(document, target string) (name, anchor string, err error) {
	name, anchor, _ = strings.Cut(target, "#")
	if name, err = url.PathUnescape(name); err != nil {
		return "", "", err
	}
	if name == "" {
		return document, anchor, nil
	}
	return filepath.ToSlash(filepath.Join(filepath.Dir(document), name)), anchor, nil
}

// anchors returns the anchors that GitHub gives a document's headings: lower case, words
// and hyphens only, and a number after the second and later headings of the same text.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, match := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		base := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsNumber(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(link.ReplaceAllString(match[1], "]")))
		anchor := base
		for n := 1; found[anchor]; n++ {
			anchor = fmt.Sprintf("%s-%d", base, n)
		}
		found[anchor] = true
	}
	return found
}
