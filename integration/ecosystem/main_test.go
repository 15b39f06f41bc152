//go:build ecosystem

package ecosystem

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
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

// tested is what has run: the names of libraries' tests, their modules, and whether
// they failed.
var tested struct {
	sync.Mutex
	modules map[string]bool
	failed  map[string]bool // by test
}

// covers counts the test as one library, which consists of the modules.
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
		tested.failed[t.Name()] = tested.failed[t.Name()] || t.Failed()
	})
}

// tell prints which versions the libraries have, and how many there are. A library
// is a test that called covers, so one that -run left out does not count; the versions
// are those that go.mod requires of their modules, of which a library may have
// several (GORM and its driver).
func tell() error {
	text, err := os.ReadFile("../go.mod")
	if err != nil {
		return err
	}
	mod, err := modfile.Parse("go.mod", text, nil)
	if err != nil {
		return err
	}
	versions, failed := 0, 0
	for _, require := range mod.Require {
		if tested.modules[require.Mod.Path] {
			fmt.Printf("%-48s %s\n", require.Mod.Path, require.Mod.Version)
			versions++
		}
	}
	for _, f := range tested.failed {
		if f {
			failed++
		}
	}
	fmt.Printf("ecosystem: %d libraries, %d versions, %d failed\n", len(tested.failed), versions, failed)
	return nil
}
