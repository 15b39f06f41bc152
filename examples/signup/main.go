// The signup program is a small web service whose sign-ups race with each other.
//
//	go run . [-driver mysqlinit|mysql] [-dsn DSN] [-addr localhost:8080]
//
// Without a DSN it starts a throwaway server and removes it at the end.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	_ "github.com/mysqlinit/mysqlinit" // the driver "mysqlinit"; which also registers "mysql"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

const (
	maxName         = 64 // characters; the size of the column
	requestTimeout  = 10 * time.Second
	shutdownTimeout = 15 * time.Second
)

func main() {
	driver := flag.String("driver", "mysqlinit", `the database driver: mysqlinit, or mysql to see what goes wrong without it`)
	dsn := flag.String("dsn", os.Getenv("SIGNUP_DSN"), "the database's DSN, by default $SIGNUP_DSN; if that is empty, a throwaway server is started")
	addr := flag.String("addr", "localhost:8080", "where to listen")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, *driver, *dsn, *addr); err != nil {
		slog.Error("signup failed", "err", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, driver, dsn, addr string) (err error) {
	if dsn == "" {
		server, err := testserver.Start(ctx, testserver.Config{})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.Stop()) }()
		dsn = server.DSN(testserver.App, "")
		slog.Info("started a throwaway server", "dsn", dsn)
	}
	store, err := OpenStore(ctx, driver, dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	slog.Info("signup is listening", "addr", listener.Addr().String(), "driver", driver)
	return serve(ctx, listener, handler(store))
}

// serve answers requests until the context ends. Requests that are running then can
// finish.
func serve(ctx context.Context, listener net.Listener, h http.Handler) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      2 * requestTimeout, // the handler's timeout ends before this one
		IdleTimeout:       time.Minute,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	return server.Shutdown(bounded)
}

func handler(store *Store) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /signup", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Name string }
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&body); err != nil {
			reply(w, http.StatusBadRequest, problem(`the body is not {"name": "…"}`))
			return
		}
		name := strings.TrimSpace(body.Name)
		if n := utf8.RuneCountInString(name); n == 0 || n > maxName {
			reply(w, http.StatusBadRequest, problem(fmt.Sprintf("a name has 1 to %d characters", maxName)))
			return
		}
		user, created, err := store.SignUp(r.Context(), name)
		switch {
		case err != nil:
			fail(w, r, err)
		case created:
			reply(w, http.StatusCreated, user)
		default:
			reply(w, http.StatusOK, user)
		}
	})
	mux.HandleFunc("GET /users/{name}", func(w http.ResponseWriter, r *http.Request) {
		user, err := store.Get(r.Context(), r.PathValue("name"))
		switch {
		case errors.Is(err, ErrNoUser):
			reply(w, http.StatusNotFound, problem(err.Error()))
		case err != nil:
			fail(w, r, err)
		default:
			reply(w, http.StatusOK, user)
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		mux.ServeHTTP(w, r.WithContext(ctx))
	})
}

func problem(text string) map[string]string { return map[string]string{"error": text} }

// fail logs the error. The client learns only that something went wrong.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	slog.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	reply(w, http.StatusInternalServerError, problem("internal error"))
}

func reply(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // fails if the client has gone
}
