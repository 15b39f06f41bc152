//go:build ecosystem

package ecosystem

import (
	"database/sql"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/mysqlstore"
	"github.com/alexedwards/scs/v2"
)

func openSessions(dsn string) (*scs.SessionManager, *sql.DB, error) {
	pool, err := sql.Open("mysqlinit", dsn+"?parseTime=true") // was "mysql"
	if err != nil {
		return nil, nil, err
	}
	sessions := scs.New()
	sessions.Store = mysqlstore.New(pool)
	return sessions, pool, nil
}

func openSessionsPlain(dsn string) (*scs.SessionManager, *sql.DB, error) {
	pool, err := openPlain(dsn + "?parseTime=true")
	if err != nil {
		return nil, nil, err
	}
	sessions := scs.New()
	sessions.Store = mysqlstore.New(pool)
	return sessions, pool, nil
}

// The store itself begins no transactions and writes with ON DUPLICATE KEY UPDATE. So the
// race is in the request's transaction, on the store's pool.
func TestSessionStore(t *testing.T) {
	covers(t, "github.com/alexedwards/scs/v2", "github.com/alexedwards/scs/mysqlstore")
	for _, s := range servers {
		for _, test := range []struct {
			name, session string
			open          func(string) (*scs.SessionManager, *sql.DB, error)
		}{
			{"plain", "REPEATABLE-READ MIXED", openSessionsPlain},
			{"prepared", "READ-COMMITTED ROW", openSessions},
		} {
			t.Run(s.name+"/"+test.name, func(t *testing.T) {
				database := s.database(t)
				s.exec(t, "CREATE TABLE "+database+".sessions (token CHAR(43) PRIMARY KEY, data BLOB NOT NULL, expiry TIMESTAMP(6) NOT NULL)",
					"CREATE INDEX sessions_expiry ON "+database+".sessions (expiry)")
				sessions, pool, err := test.open(s.dsn(database))
				if err != nil {
					t.Fatal(err)
				}
				defer pool.Close()
				store := sessions.Store.(*mysqlstore.MySQLStore)
				// The test does not call StopCleanup: it races with the goroutine that New has
				// started, which sleeps for minutes.

				login := sessions.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					tx, err := beginSQL(r.Context(), store.DB)
					if err != nil {
						t.Error(err)
						return
					}
					defer tx.rollback()
					tx.lose(t, s, database, test.session, wantServerError, test.name == "prepared")
					sessions.Put(r.Context(), "user", "ann")
				}))
				answer := httptest.NewRecorder()
				login.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
				cookies := answer.Result().Cookies()
				if len(cookies) != 1 {
					t.Fatalf("got %d cookies, status %d", len(cookies), answer.Code)
				}

				user := ""
				visit := sessions.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					user = sessions.GetString(r.Context(), "user")
				}))
				request := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
				request.AddCookie(cookies[0])
				visit.ServeHTTP(httptest.NewRecorder(), request)
				if user != "ann" {
					t.Errorf("the session's user is %q", user)
				}

				// Many goroutines save the same new session at once.
				var all sync.WaitGroup
				for range 16 {
					all.Go(func() {
						if err := store.Commit("token", []byte("data"), time.Now().Add(time.Hour)); err != nil {
							t.Error(err)
						}
						if data, found, err := store.Find("token"); string(data) != "data" || !found || err != nil {
							t.Errorf("got %q, %t, %v", data, found, err)
						}
					})
				}
				all.Wait()
			})
		}
	}
}
