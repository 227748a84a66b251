// Command spiffe-go is a SPIFFE workload with go-spiffe: each mode speaks to the Workload API in SPIFFE_ENDPOINT_SOCKET,
// or to a peer that got its SVID there, and says in one JSON line {"client", "version", "ok", "seen"} what it saw.
// It exits 0 or 1 (2: usage). It imports nothing of Marque.
//
//	spiffe-go fetch ID                         X.509- and JWT-SVIDs and bundles, validated by API and offline
//	spiffe-go denied                           no identity fits this process: PermissionDenied, for every call
//	spiffe-go watch ID UPDATES SECONDS         so many different SVIDs within the time, on one stream
//	spiffe-go serve ID PEER COUNT              mutual TLS for PEER alone, until COUNT connections were made
//	spiffe-go dial ID PEER ADDRESS WRONG       mutual TLS with PEER; WRONG in its place, and no certificate, are refused
//	spiffe-go load ID PEER ADDRESS SECONDS     handshakes without a pause; one that fails is a failure
//	spiffe-go federation DOMAIN URL ENDPOINT   the bundle of DOMAIN by https_spiffe, from an endpoint of that SPIFFE ID
//	spiffe-go publish DOMAIN DIR               a bundle endpoint of another trust domain, until it is ended
//	spiffe-go wit ID                           WIT-SVID with its key and bundles, validated offline
//	spiffe-go denied-wit                       no identity fits this process: PermissionDenied, for every call of the profile
//	spiffe-go no-wit                           every call of the WIT profile is answered with Unimplemented
//
// "serve", "watch" and "publish" first print a line of their own, when they are ready.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

// mode is one conversation: how many arguments it takes, and how it is held.
type mode struct {
	arguments int
	talk      func(ctx context.Context, arguments []string) (any, error)
}

var modes = map[string]mode{
	"fetch":      {1, fetch},
	"denied":     {0, denied},
	"watch":      {3, watch},
	"serve":      {3, serve},
	"dial":       {4, dial},
	"load":       {4, load},
	"federation": {3, federationSPIFFE},
	"publish":    {2, publish},
	"wit":        {1, wit},
	"denied-wit": {0, deniedWIT},
	"no-wit":     {0, noWIT},
}

func main() {
	if len(os.Args) < 2 {
		os.Exit(usage())
	}
	chosen, known := modes[os.Args[1]]
	if !known || len(os.Args)-2 != chosen.arguments {
		os.Exit(usage())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	seen, err := chosen.talk(ctx, os.Args[2:])
	if err != nil {
		seen = err.Error()
	}
	say(map[string]any{"client": "spiffe-go", "version": version(), "ok": err == nil, "seen": seen})
	if err != nil {
		os.Exit(1)
	}
}

// version is that of the library which was built in.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, dependency := range info.Deps {
		if dependency.Path == "github.com/spiffe/go-spiffe/v2" {
			return strings.TrimPrefix(dependency.Version, "v")
		}
	}
	return "unknown"
}

func say(line map[string]any) {
	text, err := json.Marshal(line)
	if err != nil {
		text = []byte(`{"client":"spiffe-go","version":"unknown","ok":false,"seen":"what was seen is not JSON"}`)
	}
	fmt.Println(string(text))
}

func usage() int {
	fmt.Fprintln(os.Stderr, "usage: spiffe-go MODE ARGUMENTS, as the comment at the top of main.go says")
	return 2
}

// need is an error if something does not hold.
func need(holds bool, format string, arguments ...any) error {
	if holds {
		return nil
	}
	return fmt.Errorf(format, arguments...)
}

// seconds reads a duration.
func seconds(text string) (time.Duration, error) {
	value, err := time.ParseDuration(text + "s")
	return value, errors.Join(err, need(value > 0, "`%s` is not a number of seconds", text))
}

// patience is how long one answer may take.
const patience = 20 * time.Second
