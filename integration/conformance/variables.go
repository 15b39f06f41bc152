package conformance

import (
	"testing"

	"github.com/mysqlinit/mysqlinit"
)

// variableNames opens a DSN with each of the server's system variables as a key: none may
// be taken for a misspelt key. Opening connects to nothing, so any value will do.
func (s *suite) variableNames(t *testing.T) string {
	rows, err := openPlain(t, s.Root).QueryContext(t.Context(), "SHOW VARIABLES")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	variables := 0
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			t.Fatal(err)
		}
		variables++
		if _, err := (&mysqlinit.Driver{}).OpenConnector("/?" + name + "=1"); err != nil {
			t.Error(err)
		}
	}
	if err := rows.Err(); err != nil || variables == 0 {
		t.Errorf("read %d variables, %v", variables, err)
	}
	return "ok"
}
