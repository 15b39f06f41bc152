package document_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mysqlinit/mysqlinit/internal/document"
)

func TestReplace(t *testing.T) {
	name := filepath.Join(t.TempDir(), "page.md")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("above\n<!-- a -->\nold\n<!-- b -->\nbelow\n")
	for range 2 { // again changes nothing
		if err := document.Replace(name, "<!-- a -->", "<!-- b -->", "new\n"); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if want := "above\n<!-- a -->\n\nnew\n<!-- b -->\nbelow\n"; err != nil || string(got) != want {
			t.Errorf("got %q, %v", got, err)
		}
	}
	write("no marks")
	if err := document.Replace(name, "<!-- a -->", "<!-- b -->", "new\n"); err == nil || !strings.Contains(err.Error(), "<!-- a -->") {
		t.Errorf("got %v", err)
	}
}
