package mysqlinit

import (
	"database/sql"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/internal/session"
	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

func TestDSNKeys(t *testing.T) {
	for _, test := range []struct {
		query string
		want  settings
	}{
		{"", settings{}},
		{"isolation=read-committed", settings{isolation: given(session.Isolation{Level: sql.LevelReadCommitted})}},
		{"isolation=Serializable", settings{isolation: given(session.Isolation{Level: sql.LevelSerializable})}},
		{"isolation=REPEATABLE+READ", settings{isolation: given(session.Isolation{Level: sql.LevelRepeatableRead})}},
		{"isolation=%27READ-UNCOMMITTED%27", settings{isolation: given(session.Isolation{Level: sql.LevelReadUncommitted})}},
		{"isolation=Server", settings{isolation: given(session.Isolation{})}},
		{"tx_isolation=DEFAULT&transaction_isolation=default", settings{isolation: given(session.Isolation{Expr: "default"})}},
		{"binlog_format=ROW&binlog_format='row'", settings{binlog: given(binlog{format: "ROW"})}},
		{"isolation=server", settings{isolation: given(session.Isolation{})}},
		{"binlog=Require-Row", settings{binlog: given(binlog{policy: BinlogRequireRow})}},
		{"binlog=server", settings{binlog: given(binlog{policy: BinlogServer})}},
		{"verify=TRUE&connectTimeout=0", settings{verify: given(true), connectTimeout: given(time.Duration(0))}},
		{"connectTimeout=1m30s", settings{connectTimeout: given(90 * time.Second)}},
		{"initCommand=SET+a%3D1%3B2&init_command=DO+%27%26%27", settings{initCommands: []string{"SET a=1;2", "DO '&'"}}},
		{"tx_isolation=%27serializable%27", settings{isolation: given(session.Isolation{Level: sql.LevelSerializable})}},
		{"SESSION tx_isolation='SERIALIZABLE'", settings{isolation: given(session.Isolation{Level: sql.LevelSerializable})}},
		{"@@Session.`Transaction_Isolation`='SERIALIZABLE'", settings{isolation: given(session.Isolation{Level: sql.LevelSerializable})}},
		{"tx_isolation=DEFAULT", settings{isolation: given(session.Isolation{Expr: "DEFAULT"})}},
		{"tx_isolation=SERIALIZABLE&isolation=serializable", settings{isolation: given(session.Isolation{Level: sql.LevelSerializable})}},
		{"binlog_format=MIXED", settings{binlog: given(binlog{format: "MIXED"})}},
		{"guard=1", settings{guard: given(true)}},
		{"binlog_format='ROW'&binlog=require-row", settings{binlog: given(binlog{format: "'ROW'"})}},
		{"binlog_format='ROW'&binlog=row", settings{binlog: given(binlog{format: "'ROW'"})}},
		{"binlog_format=STATEMENT&isolation=repeatable-read", settings{binlog: given(binlog{format: "STATEMENT"}), isolation: given(session.Isolation{Level: sql.LevelRepeatableRead})}},
	} {
		cfg, got, err := parseDSN("u:p@tcp(h:1)/db?" + test.query)
		if err != nil {
			t.Errorf("%s: %v", test.query, err)
			continue
		}
		if !reflect.DeepEqual(got.settings, test.want) {
			t.Errorf("%s: got %+v, want %+v", test.query, got.settings, test.want)
		}
		if len(got.variables)+len(cfg.Params) > 0 {
			t.Errorf("%s: left over: %v, %v", test.query, got.variables, cfg.Params)
		}
	}
}

// wantOpenError opens a DSN with these parameters, and wants each text in the error.
func wantOpenError(t *testing.T, query string, wants []string) {
	t.Helper()
	_, err := (&Driver{}).OpenConnector("u:secret@tcp(h:1)/db?" + query)
	if err == nil {
		t.Errorf("%s: no error", query)
		return
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q lacks %q", query, err, want)
		}
	}
}

func TestDSNErrorsNameTheKeyAndTheCure(t *testing.T) {
	for query, wants := range map[string][]string{
		"isolation=chaos":                       {`"isolation"`, "repeatable-read", "server"},
		"isolation=":                            {`"isolation"`, "read-committed"},
		"isolation":                             {`"isolation"`, "no value"},
		"binlog=mixed":                          {`"binlog"`, "require-row"},
		"verify=maybe":                          {`"verify"`, "true or false"},
		"guard=on":                              {`"guard"`, "true or false"},
		"guard":                                 {`"guard"`, "no value"},
		"connectTimeout=10":                     {`"connectTimeout"`, "duration"},
		"connectTimeout=-1s":                    {`"connectTimeout"`, "not negative"},
		"initCommand=":                          {`"initCommand"`, "empty"},
		"initCommand=+/*+nothing+*/;":           {"invalid DSN", "%2F"},
		"initCommand=+%2F*+nothing+*%2F;":       {`"initCommand"`, "empty"},
		"initCommand=SET+TRANSACTION+READ+ONLY": {`"initCommand"`, "next transaction", "SESSION"},
		"initCommand=set+@@tx_isolation=%27SERIALIZABLE'": {"next transaction", "@@SESSION.tx_isolation"},
		"init_command=SET+a=1,+@@transaction_read_only=1": {"next transaction", "@@SESSION.transaction_read_only"},
		"initCommand=%zz":   {`"initCommand"`, "escaped"},
		"verify=1&verify=1": {`"verify"`, "twice"},
		"isolation=serializable&tx_isolation='READ-COMMITTED'": {"tx_isolation", "contradicts"},
		"isolation=server&tx_isolation=DEFAULT":                {"tx_isolation", "contradicts"},
		"binlog=assert&binlog_format=ROW":                      {"binlog_format", "contradicts"},
		"@@tx_isolation='SERIALIZABLE'":                        {"next transaction", "write isolation"},
		"isolationLevel=serializable":                          {`"isolationLevel"`, "write isolation"},
		"Isolation=serializable":                               {`"Isolation"`, "write isolation"},
		"transactionIsolation=x":                               {"write isolation"},
		"binlogFormat=ROW":                                     {"binlog_format"},
		"INIT_COMMAND=x":                                       {"write initCommand"},
		"parsetime=true":                                       {"write parseTime"},
		"read_timeout=1s":                                      {"write readTimeout"},
		"Compress=true":                                        {"write compress"},
		"strict=true":                                          {`"strict"`, "removed"},
		"parseTime=perhaps":                                    {`"parseTime"`, "true or false"},
		"readTimeout=5":                                        {`"readTimeout"`, "duration", "30s"},
		"maxAllowedPacket=16M":                                 {`"maxAllowedPacket"`, "number"},
		"loc=Atlantis":                                         {`"loc"`, "time zone"},
		"tls=unknown-name":                                     {`"tls"`, "skip-verify", "mysql.RegisterTLSConfig"},
		"serverPubKey=unknown-name":                            {`"serverPubKey"`, "mysql.RegisterServerPubKey"},
		"binlog_format='ROW',+tx_isolation='SERIALIZABLE'":     {`"binlog_format"`, "also sets tx_isolation"},
		"tx_isolation=@@GLOBAL.tx_isolation,+binlog_format:='MIXED'":                                     {`"tx_isolation"`, "also sets binlog_format"},
		"time_zone='%2B00:00';SET+SESSION+TRANSACTION+ISOLATION+LEVEL+SERIALIZABLE&multiStatements=true": {`"time_zone"`, "also sets transaction"},
		"initCommand=SET+@a=1;+SET+TRANSACTION+READ+ONLY":                                                {"next transaction"},
		"time_zone=%27%2B00:00%27,tx_isolation=%27SERIALIZABLE%27":                                       {`"time_zone"`, "tx_isolation"},
	} {
		wantOpenError(t, query, wants)
	}
	for _, query := range []string{"binlog_format=STATEMENT", "binlog_format='statement'&isolation=read-uncommitted"} {
		if _, err := (&Driver{}).OpenConnector("/?" + query); err == nil || !strings.Contains(err.Error(), "1665") {
			t.Errorf("%s: got %v, want an error that names 1665", query, err)
		}
	}
}

func TestValuesMayReadOurVariables(t *testing.T) {
	for _, query := range []string{"sql_mode=IF(@@tx_isolation='SERIALIZABLE','ANSI','')", "sql_mode=CONCAT(@@sql_mode,',ANSI')", "GLOBAL tx_isolation='SERIALIZABLE'"} {
		if _, got, err := parseDSN("/?" + query); err != nil || len(got.variables) != 1 {
			t.Errorf("%s: got %v, %v", query, got.variables, err)
		}
	}
}

// A user variable can have any name, and none is a misspelling.
func TestDSNLeavesUserVariablesAlone(t *testing.T) {
	for _, key := range []string{"@guard", "@verify", "@Isolation", "@`my-tenant`", "@'my tenant'"} {
		if _, got, err := parseDSN("/?" + key + "=1"); err != nil || len(got.variables) != 1 {
			t.Errorf("%s: got %v, %v", key, got.variables, err)
		}
	}
}

func TestDSNLeavesRealVariablesAlone(t *testing.T) {
	_, got, err := parseDSN("/?max_allowed_packet=1&time_zone=%27UTC%27&connect_timeout=5&@x=1&NAMES=2&time_zone=%27%2B01:00%27&novalue")
	if err != nil {
		t.Fatal(err)
	}
	want := []sysvar.Variable{
		{Name: "max_allowed_packet", Value: "1"}, {Name: "connect_timeout", Value: "5"}, {Name: "@x", Value: "1"},
		{Name: "NAMES", Value: "2"}, {Name: "time_zone", Value: "'+01:00'"},
	}
	if !reflect.DeepEqual(got.variables, want) {
		t.Errorf("got %v, want %v", got.variables, want)
	}
}

func TestMalformedDSNErrorsHoldNoPassword(t *testing.T) {
	for _, dsn := range []string{
		"root:top%secret@tcp(db:3306)/app%zz",
		"root:top/secret%@tcp(db:3306)",
		"root:top%secret@tcp(db:3306)",
		"root:top/x?parseTime=secret@tcp(db:3306)",
		"root:top/x?isolation=secret@tcp(db:3306)",
		"root:top/x?verify=secret%zz@tcp(db:3306)",
		"root:top/x?secret%zz",
		"root:top/x?secret=%zz@tcp(db:3306)",
		"root:top/x?secret=a,tx_isolation=1@tcp(db:3306)",
		"root:top/x?Secret_isolation=1@tcp(db:3306)",
		"root:secret@tcp(db:3306/app",
		"root:secret@nonet/app",
		"root:secret@tcp(db:3306)/app?strict=secret",
	} {
		_, err := sql.Open(DriverName, dsn)
		if err == nil {
			t.Errorf("%s: no error", dsn)
		} else if strings.Contains(strings.ToLower(err.Error()), "secret") {
			t.Errorf("%s: the error shows the password: %v", dsn, err)
		}
	}
}

func TestEmptyDSNIsValid(t *testing.T) {
	db, err := sql.Open(DriverName, "")
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
}

func TestDriverKeysAreRead(t *testing.T) {
	// Every key that the driver's README lists, except charset's fallback list.
	for _, key := range []string{"allowAllFiles", "allowCleartextPasswords", "allowFallbackToPlaintext", "allowNativePasswords",
		"allowOldPasswords", "charset", "checkConnLiveness", "collation", "clientFoundRows", "columnsWithAlias", "compress",
		"connectionAttributes", "interpolateParams", "loc", "maxAllowedPacket", "multiStatements", "parseTime", "readTimeout",
		"rejectReadOnly", "serverPubKey", "timeTruncate", "timeout", "tls", "writeTimeout"} {
		if !driverSpellings()[key] || !driverOwns(key) {
			t.Errorf("%s is not known", key)
		}
	}
}

// The next version of the driver has a key that no exported field and no option
// shows.
func TestKeysOfTheNextDriverAreItsOwn(t *testing.T) {
	next := func(dsn string) (*mysql.Config, error) {
		head, query := splitDSN(dsn)
		var rest []string
		for param := range strings.SplitSeq(query, "&") {
			if !strings.HasPrefix(param, "tinyInt1IsBool=") {
				rest = append(rest, param)
			}
		}
		return tryParse(head + "?" + strings.Join(rest, "&"))
	}
	for key, want := range map[string]bool{"tinyInt1IsBool": true, "parseTime": true, "loc": true, "strict": true, "tinyint1isbool": false, "time_zone": false, "isolation": false, "@x": false} {
		if got := owns(next, key); got != want {
			t.Errorf("%s: got %v, want %v", key, got, want)
		}
	}
}

func TestKeysThatNoServerIsAskedAbout(t *testing.T) {
	for query, wants := range map[string][]string{
		"verfiy=true":                     {`"verfiy"`, "write verify"},
		"gaurd=true":                      {`"gaurd"`, "write guard"},
		"isolaton=serializable":           {`"isolaton"`, "write isolation"},
		"conectTimeout=5s":                {`"conectTimeout"`, "write connectTimeout"},
		"isolation-level=x":               {`"isolation-level"`, "write isolation"},
		"init-command=SET+@x=1":           {`"init-command"`, "write initCommand"},
		"parseTimes=true":                 {`"parseTimes"`, "write parseTime"},
		"x-migrations-table=foo":          {`"x-migrations-table"`, "no system variable", "program that it is for"},
		"ssl-ca=/etc/ca.pem":              {"ssl-ca", "'/'", "%2F"}, // the last '/' splits a DSN
		"ssl-ca=ca.pem&binlog=assert":     {`"ssl-ca"`, "write tls=true", "mysql.RegisterTLSConfig"},
		"charset=utf8&amp;parseTime=true": {`"amp;parseTime"`, "has &amp;", "write & alone"},
		"sql_mode=":                       {`"sql_mode"`, "empty value", "%27%27"},
		"sql_mode=+":                      {`"sql_mode"`, "empty value"},
	} {
		wantOpenError(t, query, wants)
	}
}

func TestAURLIsAnsweredWithItsDSN(t *testing.T) {
	for url, want := range map[string]string{
		"mysql://app:hunter2@db.example:3307/shop?parseTime=true": "app:PASSWORD@tcp(db.example:3307)/shop, ",
		"mysql://app@db/shop":                "app@tcp(db:3306)/shop, ",
		"mariadb://app:hunter2@[::1]:3306/":  "app:PASSWORD@tcp([::1]:3306)/, ",
		"mysql2://app:hun/ter2@db:3306/shop": "user:password@tcp(host:3306)/database",
		"MySQL://app:12/hunter2@db/shop":     "user:password@tcp(host:3306)/database",
		"mysql://app:1@hunter2?x@db/shop":    "user:password@tcp(host:3306)/database",
		"mysql://app:1@hunter2#x@db/shop":    "user:password@tcp(host:3306)/database",
	} {
		_, err := Open(url)
		if err == nil || !strings.Contains(err.Error(), "it is a URL; want "+want) {
			t.Errorf("%s: got %v", url, err)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "ter2")) {
			t.Errorf("%s: the error shows the password: %v", url, err)
		}
	}
	// This one is a DSN: user mysql, password "//".
	if cfg, _, err := parseDSN("mysql://@/"); err != nil || cfg.User != "mysql" || cfg.Passwd != "//" {
		t.Errorf("got %+v, %v", cfg, err)
	}
}

func TestALevelThatIsAVariableKeepsItsPlace(t *testing.T) {
	for query, want := range map[string]string{
		"aurora_read_replica_read_committed=1&transaction_isolation='READ-COMMITTED'": "SET @@SESSION.binlog_format = 'ROW', aurora_read_replica_read_committed = 1, @@SESSION.transaction_isolation = 'READ-COMMITTED'",
		"a=1&b=2&tx_isolation='SERIALIZABLE'&a=3&c=4&binlog=server":                   "SET b = 2, @@SESSION.transaction_isolation = 'SERIALIZABLE', a = 3, c = 4",
		"a=1&isolation=serializable&binlog=server":                                    "SET @@SESSION.transaction_isolation = 'SERIALIZABLE', a = 1",
		"a=1&isolation=serializable&tx_isolation='SERIALIZABLE'&binlog=server":        "SET a = 1, @@SESSION.transaction_isolation = 'SERIALIZABLE'",
	} {
		conn := &troubledConn{}
		if _, failure := testConnector(t, "/?"+query).session.Prepare(t.Context(), conn, new(session.Progress)); failure != nil {
			t.Fatal(failure.Err)
		}
		if got := strings.Join(conn.sent, "; "); got != want {
			t.Errorf("%s:\n got %s\nwant %s", query, got, want)
		}
	}
}

func TestOpenRefusesContradictions(t *testing.T) {
	for _, test := range []struct {
		query string
		opt   Option
		ok    bool
	}{
		{"isolation=serializable", WithIsolation(sql.LevelReadCommitted), false},
		{"isolation=serializable", WithIsolation(sql.LevelSerializable), true},
		{"tx_isolation=DEFAULT", WithIsolation(sql.LevelSerializable), false},
		{"binlog=row", WithBinlog(BinlogAssert), false},
		{"binlog_format=ROW", WithBinlog(BinlogRow), true},
		{"binlog_format=MIXED", WithBinlog(BinlogRow), false},
		{"verify=false", WithVerify(true), false},
		{"connectTimeout=5s", WithConnectTimeout(5 * time.Second), true},
		{"connectTimeout=5s", WithConnectTimeout(6 * time.Second), false},
	} {
		db, err := Open("/?"+test.query, test.opt)
		if err == nil {
			db.Close()
		}
		if (err == nil) != test.ok {
			t.Errorf("%s: got %v", test.query, err)
		}
		// The DSN overrides a preset.
		d, err := NewDriver(test.opt)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.OpenConnector("/?" + test.query); err != nil {
			t.Errorf("%s as a preset: %v", test.query, err)
		}
	}
}

func TestConfigParamsMeanTheSame(t *testing.T) {
	cfg, err := mysql.ParseDSN("u:p@tcp(h:1)/db?isolation=serializable&verify=true&time_zone=%27UTC%27&initCommand=DO+1")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Params["tx_isolation"] = "'SERIALIZABLE'"
	c, err := NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.session; got.Isolation.Level != sql.LevelSerializable || !got.Verify || len(got.InitCommands) != 1 || len(got.Variables) != 0 {
		t.Errorf("got %+v", got)
	}
	if len(cfg.Params) != 5 {
		t.Errorf("the caller's Params were changed: %v", cfg.Params)
	}
	if _, err := NewConnector(cfg, WithIsolation(sql.LevelReadCommitted)); err == nil || !strings.Contains(err.Error(), "contradicts") {
		t.Errorf("got %v, want a contradiction", err)
	}
	if _, err := NewConnector(&mysql.Config{Params: map[string]string{"parseTime": "true"}}); err == nil || !strings.Contains(err.Error(), "Config's field") {
		t.Errorf("got %v", err)
	}
	cfg.Params["verify"] = "perhaps"
	if _, err := NewConnector(cfg); err == nil || !strings.Contains(err.Error(), "verify") {
		t.Errorf("got %v, want an error that names verify", err)
	}
}

func TestTheSETOfADSN(t *testing.T) {
	for _, test := range []struct{ query, want string }{
		{"", "SET @@SESSION.transaction_isolation = 'READ-COMMITTED', @@SESSION.binlog_format = 'ROW'"},
		{"binlog=server", "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"},
		{"binlog=server&isolation=server", ""},
		{"binlog=server&isolation=server&time_zone='UTC'", "SET time_zone = 'UTC'"},
		{"binlog=require-row&time_zone='UTC'&sql_mode='ANSI'", "SET @@SESSION.transaction_isolation = 'READ-COMMITTED', @@SESSION.binlog_format = 'ROW', time_zone = 'UTC', sql_mode = 'ANSI'"},
		{"a=1+%23+one&b=2", "SET @@SESSION.transaction_isolation = 'READ-COMMITTED', @@SESSION.binlog_format = 'ROW', a = 1 # one\n, b = 2"},
		{"time_zone='%2B00:00'+--+utc&a=1", "SET @@SESSION.transaction_isolation = 'READ-COMMITTED', @@SESSION.binlog_format = 'ROW', time_zone = '+00:00' -- utc\n, a = 1"},
		{"tx_isolation=DEFAULT", "SET @@SESSION.transaction_isolation = DEFAULT, @@SESSION.binlog_format = 'ROW'"},
		{"binlog_format=MIXED", "SET @@SESSION.transaction_isolation = 'READ-COMMITTED', @@SESSION.binlog_format = MIXED"},
		{"isolation=serializable&binlog=assert", "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE"},
		{"binlog=assert", "SET @@SESSION.transaction_isolation = IF(@@SESSION.binlog_format = 'STATEMENT' AND (@@GLOBAL.log_bin OR @@wsrep_on), 'mysqlinit: binlog_format is STATEMENT', 'READ-COMMITTED')"},
	} {
		conn := &troubledConn{}
		if _, failure := testConnector(t, "/?"+test.query).session.Prepare(t.Context(), conn, new(session.Progress)); failure != nil {
			t.Fatal(failure.Err)
		}
		if got := strings.Join(conn.sent, "; "); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.query, got, test.want)
		}
	}
}

func FuzzDSN(f *testing.F) {
	for _, seed := range []string{"", "/", "u:p@tcp(h:1)/db?isolation=serializable&initCommand=SET+a%3D1&parseTime=true", "/?strict=1", "u:p/w@unix(/s)/?a=b&&c", "/?tx_isolation=DEFAULT&%zz=%zz"} {
		f.Add(seed, "SET a = '?&=%/'")
	}
	f.Fuzz(func(t *testing.T, dsn, command string) {
		cfg, ours, err := parseDSN(dsn)
		drivers, driversErr := tryParse(dsn)
		if err != nil {
			if driversErr == nil && len(drivers.Params) == 0 && !strings.Contains(err.Error(), "has no value") {
				t.Errorf("%q: the driver accepts it, and nothing in it is ours: %v", dsn, err)
			}
			return
		}
		if driversErr != nil {
			t.Fatalf("%q: accepted, but not by the driver: %v", dsn, driversErr)
		}
		if drivers.Params = nil; len(cfg.Params) > 0 || cfg.FormatDSN() != drivers.FormatDSN() {
			t.Errorf("%q: the driver's part is %s, params %v, with the driver alone %s", dsn, cfg.FormatDSN(), cfg.Params, drivers.FormatDSN())
		}
		// The driver must make the same of the DSN without our part.
		again, err := mysql.ParseDSN(cfg.FormatDSN())
		if err == nil && again.User+again.Passwd+again.DBName != cfg.User+cfg.Passwd+cfg.DBName {
			t.Skip() // a DSN that the driver itself does not format back
		}
		if checkInitCommand(command) != nil {
			return
		}
		sep := "?"
		if head, query := splitDSN(dsn); query != "" || len(head) != len(dsn) {
			sep = "&"
		}
		if !strings.Contains(dsn, "/") {
			dsn = "/"
		}
		_, more, err := parseDSN(dsn + sep + "initCommand=" + url.QueryEscape(command))
		if err != nil {
			t.Fatalf("%q with an init command: %v", dsn, err)
		}
		if n := len(ours.settings.initCommands); len(more.settings.initCommands) != n+1 || more.settings.initCommands[n] != command {
			t.Errorf("%q: init command %q came back as %q", dsn, command, more.settings.initCommands)
		}
	})
}

// FuzzDSNHidesPassword opens DSNs that are broken in many ways, some by what is in
// their password.
func FuzzDSNHidesPassword(f *testing.F) {
	tails := []string{"@tcp(h:1)/db", "", "@", "/", "@tcp(h:1)", "@tcp(h:1/db", "@tcp h:1/db", "@nonet/db", "@tcp(h:1)/db%zz", "@tcp(h:1)/db?verify=perhaps", "@tcp(h:1)/?isolation",
		"@tcp(h:1)/db?strict=1", "@tcp(h:1)/db?tls=none", "@tcp(h:1)/db?a=%zz", "@tcp(h:1)/db?Isolation=1", "@tcp(h:1)/db?connectTimeout=x&parseTime=x", "?initCommand=SET+TRANSACTION+READ+ONLY"}
	tails = append(tails, "@h:1/db", "@h/db?a=b")
	for _, special := range []string{"@", "/", "?", ":", "%", "&", "=", "%zz", "@tcp(", "/?", "a/b?c=", ")/", "'", "\n"} {
		for tail := range tails {
			f.Add(special, "", uint8(tail))
			f.Add("", special, uint8(tail))
			f.Add(special, special, uint8(tail))
			f.Add(special, special, uint8(tail+128+128%len(tails)))
		}
	}
	f.Fuzz(func(t *testing.T, before, after string, tail uint8) {
		const secret = "hunter2"
		dsn := "app:" + before + secret + after + tails[int(tail)%len(tails)]
		if tail >= 128 {
			dsn = "mysql://" + dsn
			if strings.Contains(before, "@") && !strings.Contains(tails[int(tail)%len(tails)], "@") {
				t.Skip() // a URL whose host is the secret
			}
		}
		head, _ := splitDSN(dsn)
		if _, err := tryParse(head); err == nil && !strings.Contains(head, secret) {
			t.Skip() // a DSN whose password ends before the secret
		}
		connector, err := (&Driver{}).OpenConnector(dsn)
		if err == nil {
			return
		}
		if _, openErr := Open(dsn); openErr == nil || connector != nil {
			t.Errorf("%q: got %v and %v, from Open %v", dsn, connector, err, openErr)
		}
		if strings.Contains(strings.ToLower(err.Error()), secret) {
			t.Errorf("%q: %v", dsn, err)
		}
	})
}

func FuzzIsolationName(f *testing.F) {
	for _, level := range []sql.IsolationLevel{sql.LevelReadUncommitted, sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable} {
		f.Add(sysvar.LevelName(level))
		f.Add(" '" + strings.ToLower(sysvar.SpacedLevelName(level)) + "' ")
	}
	for _, seed := range []string{"server", "", "'", "''", "read_committed", "READ--COMMITTED", "\"serializable'", "chaos", "DEFAULT", "SNAPSHOT"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		var s settings
		err := ourKeys["isolation"](&s, name)
		level := s.isolation.value.Level
		canonical := sysvar.LevelName(level)
		if err != nil {
			if s.isolation.given || strings.EqualFold(name, "server") {
				t.Errorf("%q: %v, and chosen is %v", name, err, level)
			}
			return
		}
		if canonical == "" {
			canonical = "server"
		}
		letters := func(text string) string {
			return strings.ToUpper(strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`-'"`, r) }), ""))
		}
		if letters(name) != letters(canonical) {
			t.Errorf("%q is taken for %s", name, canonical)
		}
		for _, same := range []string{canonical, strings.ToLower(canonical)} {
			var again settings
			if err := ourKeys["isolation"](&again, same); err != nil || again.isolation != s.isolation {
				t.Errorf("%q means %s, but %q %v, %v", name, canonical, same, again.isolation, err)
			}
		}
	})
}
