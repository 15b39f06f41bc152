//go:build ecosystem

package ecosystem

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// plainName is the flag of docs/before.md that frees the name "mysql".
const plainName = "-X github.com/go-sql-driver/mysql.driverName=mysql-plain"

// Libraries that open the driver "mysql" by that name get this driver in a program that is
// built with the flag.
func TestLibrariesThatHardCodeTheName(t *testing.T) {
	program := filepath.Join(t.TempDir(), "hardcoded")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags=ecosystem", "-ldflags", plainName, "-o", program, "./internal/hardcoded")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			run := exec.CommandContext(t.Context(), program, s.dsn(s.database(t)), s.session())
			output, err := run.CombinedOutput()
			var want strings.Builder
			for _, library := range []string{"ent", "goose", "GORM", "sqlx", "xorm", "golang-migrate"} {
				want.WriteString(library + ": READ-COMMITTED ROW\n")
			}
			if err != nil || string(output) != want.String() {
				t.Errorf("the program printed\n%s%v, want\n%s", output, err, &want)
			}
		})
	}
}
