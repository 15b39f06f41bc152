//go:build ecosystem

package ecosystem

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"sync"
	"testing"

	"golang.org/x/mod/modfile"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// server is one of the servers that all tests share.
type server struct {
	*testserver.Server
	name      string
	isolation string // its variable
	plain     *sql.DB
}

var servers []*server

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	for _, s := range []*server{
		{name: "MariaDB", isolation: "@@SESSION.tx_isolation"},
		{name: "MySQL", isolation: "@@SESSION.transaction_isolation"},
	} {
		// MIXED, so that a session's ROW is this driver's doing.
		config := testserver.Config{MySQL: s.name == "MySQL", Binlog: "MIXED"}
		var err error
		s.Server, err = testserver.Start(context.Background(), config)
		if errors.Is(err, testserver.ErrNoMySQL) && os.Getenv("CI") == "" {
			fmt.Println("without MySQL:", err)
			continue
		}
		if err != nil {
			fmt.Println(err)
			return 1
		}
		defer func() {
			if err := s.Stop(); err != nil {
				fmt.Println(err)
			}
		}()
		if s.plain, err = sql.Open("mysql", s.DSN(testserver.Root, "")); err != nil {
			fmt.Println(err)
			return 1
		}
		defer s.plain.Close()
		servers = append(servers, s)
	}
	code := m.Run()
	if err := tell(); err != nil {
		fmt.Println(err)
		return 1
	}
	return code
}

// tested is what has run: modules, and whether libraries, named by their first module,
// have failed.
var tested struct {
	sync.Mutex
	modules map[string]bool
	failed  map[string]bool
}

// covers counts the test for a library, which consists of the modules.
func covers(t *testing.T, modules ...string) {
	t.Cleanup(func() {
		tested.Lock()
		defer tested.Unlock()
		if tested.failed == nil {
			tested.modules, tested.failed = map[string]bool{}, map[string]bool{}
		}
		for _, module := range modules {
			tested.modules[module] = true
		}
		tested.failed[modules[0]] = tested.failed[modules[0]] || t.Failed()
	})
}

// tell prints which versions the libraries have, and how many there are. A library
// counts when a test that called covers for it has run, so one that -run left out does
// not. The versions are those of its modules, of which it may have several (GORM and
// its driver).
func tell() error {
	all, err := versions()
	if err != nil {
		return err
	}
	for _, module := range slices.Sorted(maps.Keys(tested.modules)) {
		if all[module] == "" {
			return fmt.Errorf("no version of %s is found", module)
		}
		fmt.Printf("%-44s %s\n", module, all[module])
	}
	failed := 0
	for _, f := range tested.failed {
		if f {
			failed++
		}
	}
	fmt.Printf("ecosystem: %d libraries, %d versions, %d failed\n", len(tested.failed), len(tested.modules), failed)
	return nil
}

// versions reads go.mod, which names what this is built with (a test program does
// not know its modules), and, for sqlc, which is no dependency, what it has generated.
func versions() (map[string]string, error) {
	text, err := os.ReadFile("../go.mod")
	if err != nil {
		return nil, err
	}
	mod, err := modfile.Parse("go.mod", text, nil)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, require := range mod.Require {
		all[require.Mod.Path] = require.Mod.Version
	}
	generated, err := os.ReadFile("internal/sqlc/db.go")
	if err != nil {
		return nil, err
	}
	if version := regexp.MustCompile(`(?m)^//\s+sqlc (v\S+)$`).FindSubmatch(generated); version != nil {
		all["github.com/sqlc-dev/sqlc"] = string(version[1])
	}
	return all, nil
}
