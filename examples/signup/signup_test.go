package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// startService starts the web service, with a driver, on a throwaway server. It returns
// the URL of the service and the DSN of the server.
func startService(t *testing.T, driver string) (url, dsn string) {
	t.Helper()
	dsn = testserver.New(t, testserver.Config{Binlog: "MIXED"}).DSN(testserver.App, "")
	store, err := OpenStore(t.Context(), driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := testserver.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, listener, handler(store)) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return "http://" + listener.Addr().String(), dsn
}

// call sends a request and returns the status and the user of the answer.
func call(t *testing.T, method, url, body string) (status int, user User) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, User{}
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Error(err)
		return 0, User{}
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&user); err != nil {
		t.Error(err)
	}
	return response.StatusCode, user
}

const names, racers = 50, 8

// race has several clients sign up under each name at the same time. It counts the
// answers by status.
func race(t *testing.T, url string) map[int]int {
	t.Helper()
	answers := map[int]int{}
	var mu sync.Mutex
	for n := range names {
		start := make(chan struct{})
		var all sync.WaitGroup
		for range racers {
			all.Go(func() {
				<-start
				status, _ := call(t, "POST", url+"/signup", fmt.Sprintf(`{"name": "user %d"}`, n))
				mu.Lock()
				defer mu.Unlock()
				answers[status]++
			})
		}
		close(start)
		all.Wait()
	}
	t.Logf("%d sign-ups, %d at once under each name: %d created, %d found, %d failed",
		names*racers, racers, answers[http.StatusCreated], answers[http.StatusOK], answers[http.StatusInternalServerError])
	return answers
}

func TestRacingSignUpsAllSucceed(t *testing.T) {
	url, dsn := startService(t, "mysqlinit")
	answers := race(t, url)
	if answers[http.StatusCreated] != names || answers[http.StatusOK] != names*(racers-1) {
		t.Errorf("answers by status: %v, want %d created, and found by all other requests", answers, names)
	}
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for table, want := range map[string]int{"users": names, "visits": names * racers} {
		var rows int
		if err := db.QueryRow("SELECT COUNT(*) FROM " + table).Scan(&rows); err != nil || rows != want {
			t.Errorf("%s has %d rows (%v), want %d", table, rows, err, want)
		}
	}
}

// The plain driver's sessions are REPEATABLE READ, so the same code loses the same race.
func TestRacingSignUpsFailWithThePlainDriver(t *testing.T) {
	url, _ := startService(t, "mysql")
	if answers := race(t, url); answers[http.StatusInternalServerError] == 0 {
		t.Errorf("answers by status: %v: no client failed, so TestRacingSignUpsAllSucceed proves nothing", answers)
	}
}

func TestAnswers(t *testing.T) {
	url, _ := startService(t, "mysqlinit")
	for _, test := range []struct {
		method, path, body string
		status             int
		name               string
	}{
		{"GET", "/users/ann", "", http.StatusNotFound, ""},
		{"POST", "/signup", `{"name": " ann "}`, http.StatusCreated, "ann"},
		{"POST", "/signup", `{"name": "ann"}`, http.StatusOK, "ann"},
		{"GET", "/users/ann", "", http.StatusOK, "ann"},
		{"POST", "/signup", `{"name": ""}`, http.StatusBadRequest, ""},
		{"POST", "/signup", `{"name": "` + strings.Repeat("ö", maxName) + `"}`, http.StatusCreated, strings.Repeat("ö", maxName)},
		{"POST", "/signup", `{"name": "` + strings.Repeat("ö", maxName+1) + `"}`, http.StatusBadRequest, ""},
		{"POST", "/signup", `{"name": "🙂"}`, http.StatusCreated, "🙂"},
		{"POST", "/signup", `name=ann`, http.StatusBadRequest, ""},
	} {
		if status, user := call(t, test.method, url+test.path, test.body); status != test.status || user.Name != test.name {
			t.Errorf("%s %s %s: %d %q, want %d %q", test.method, test.path, test.body, status, user.Name, test.status, test.name)
		}
	}
}

func TestShutdownLetsARequestFinish(t *testing.T) {
	listener, err := testserver.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stop() // while this request is under way
		for refused := false; !refused; time.Sleep(time.Millisecond) {
			conn, err := net.Dial("tcp", listener.Addr().String())
			if refused = err != nil; !refused {
				conn.Close()
			}
		}
		reply(w, http.StatusOK, User{Name: "ann"})
	})
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, listener, h) }()
	if status, user := call(t, "GET", "http://"+listener.Addr().String(), ""); status != http.StatusOK || user.Name != "ann" {
		t.Errorf("got %d %+v", status, user)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
