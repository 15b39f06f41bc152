package mysqlinit

import (
	"database/sql"
	"strings"
	"testing"
	"time"
)

func TestOptionsRefuseWhatNoServerCouldDo(t *testing.T) {
	for want, opts := range map[string][]Option{
		"WithIsolation(Linearizable)":    {WithIsolation(sql.LevelLinearizable)},
		"WithBinlog(BinlogPolicy(9))":    {WithBinlog(9)},
		"WithBinlog(BinlogPolicy(-1))":   {WithBinlog(-1)},
		"WithConnectTimeout(-1s)":        {WithConnectTimeout(-time.Second)},
		"an init command is empty":       {WithInitCommand(" ; -- nothing")},
		"SET TRANSACTION holds for the ": {WithInitCommand("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")},
	} {
		// Every way in returns the error, and a second error hides neither.
		_, openErr := Open("/", opts...)
		_, driverErr := NewDriver(append(opts, WithConnectTimeout(-2*time.Second))...)
		for _, err := range []error{openErr, driverErr} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		}
		if driverErr != nil && !strings.Contains(driverErr.Error(), "WithConnectTimeout(-2s)") {
			t.Errorf("%v lacks the second error", driverErr)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: Register did not panic", want)
				}
			}()
			Register("mysqlinit-wrong-option", opts...)
		}()
	}
}

func TestTheLastOfTwoEqualOptionsWins(t *testing.T) {
	s := testConnector(t, "/?isolation=serializable&initCommand=DO+3",
		WithIsolation(sql.LevelReadUncommitted), WithIsolation(sql.LevelRepeatableRead), nil,
		WithInitCommand("DO 1"), WithInitCommand("DO 2"))
	if s.session.Isolation.Level != sql.LevelSerializable {
		t.Errorf("level %v: the DSN does not override a preset", s.session.Isolation.Level)
	}
	if got := strings.Join(s.session.InitCommands, " "); got != "DO 1 DO 2 DO 3" {
		t.Errorf("init commands %s", got)
	}
	if s := testConnector(t, "/", WithIsolation(sql.LevelSerializable), WithIsolation(sql.LevelDefault)); s.session.Isolation.Level != sql.LevelDefault {
		t.Errorf("level %v", s.session.Isolation.Level)
	}
}

// testConnector opens a DSN that no server need answer.
func testConnector(t testing.TB, dsn string, opts ...Option) *Connector {
	t.Helper()
	d, err := NewDriver(opts...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.OpenConnector(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*Connector)
}

func TestConnectTimeoutOfTheDSN(t *testing.T) {
	for query, want := range map[string]time.Duration{
		"": DefaultConnectTimeout, "timeout=1m": time.Minute, "timeout=1s": DefaultConnectTimeout,
		"connectTimeout=5s&timeout=1m": 5 * time.Second, "connectTimeout=0": 0,
	} {
		if got := testConnector(t, "/?"+query).limit.timeout; got != want {
			t.Errorf("%s: got %v, want %v", query, got, want)
		}
	}
}

func TestInitCommandsOfTheNextTransactionOnly(t *testing.T) {
	for statement, refused := range map[string]bool{
		"SET TRANSACTION READ ONLY":                               true,
		"set /* x */ transaction isolation level serializable":    true,
		"SET @@transaction_isolation = 'SERIALIZABLE'":            true,
		"SET @a = 1, @@`tx_read_only` := 1":                       true,
		"SET SESSION TRANSACTION READ ONLY":                       false,
		"SET LOCAL TRANSACTION ISOLATION LEVEL READ COMMITTED":    false,
		"SET @@SESSION.transaction_isolation = 'READ-COMMITTED'":  false,
		"SET transaction_isolation = 'READ-COMMITTED'":            false,
		"SET @x = '@@transaction_isolation = 1'":                  false,
		"SELECT @@transaction_isolation":                          false,
		"SET @x = (SELECT @@tx_isolation = 'SERIALIZABLE'), @y=1": false,
		"CALL prepare_session('SET TRANSACTION')":                 false,
	} {
		if err := checkInitCommand(statement); (err != nil) != refused {
			t.Errorf("%s: got %v", statement, err)
		}
	}
}

func TestBinlogPolicyString(t *testing.T) {
	for policy, want := range map[BinlogPolicy]string{BinlogRow: "row", BinlogRequireRow: "require-row", BinlogAssert: "assert", BinlogServer: "server", 9: "BinlogPolicy(9)"} {
		if got := policy.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
