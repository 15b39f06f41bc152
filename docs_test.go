package mysqlinit_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDocsCodeCompiles looks for each block of Go in a document in the files of
// examples and tests that it is taken from, which the compiler has read, here or in the run
// that their build tag is for.
func TestDocsCodeCompiles(t *testing.T) {
	// The indent, which differs, tells nothing.
	flat := func(text []byte) string { return regexp.MustCompile(`(?m)^[ \t]+`).ReplaceAllString(string(text), "") }
	for document, patterns := range map[string][]string{
		"docs/check.md":         {"inspect/example_test.go"},
		"docs/get-or-create.md": {"mysqltx/example_test.go"},
		"docs/interceptors.md":  {"integration/example_test.go"},
		"docs/migrating.md":     {"migrating_test.go"},
		"docs/recipes.md":       {"integration/ecosystem/*_test.go", "integration/containers/*_test.go"},
	} {
		docs, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		var compiled []string
		for _, pattern := range patterns {
			files, err := filepath.Glob(pattern)
			if err != nil || len(files) == 0 {
				t.Fatalf("no file %s; %v", pattern, err)
			}
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				compiled = append(compiled, flat(text))
			}
		}
		blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(docs, -1)
		if len(blocks) == 0 {
			t.Errorf("%s has no block of code", document)
		}
		for _, block := range blocks {
			in := func(file string) bool { return strings.Contains(file, flat(block[1])) }
			if !slices.ContainsFunc(compiled, in) {
				t.Errorf("%s: not in %s:\n%s", document, patterns, block[1])
			}
		}
	}
}
