// Command tlog judges a transparency log over HTTP with the libraries of Go's checksum database
// (golang.org/x/mod/sumdb/tlog and sumdb/note). It imports nothing of Marque.
//
// It opens the checkpoint with the log's verifier key, proves every entry to be in the tree, and, with an older checkpoint,
// that the tree only grew. It prints one JSON line {"client", "version", "ok", "seen", "size", "root"} and exits 0 or 1 (2:
// usage).
//
//	tlog [--older FILE] [--content-types] [--expect-fault] URL VKEY
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
)

func main() {
	older := flag.String("older", "", "an older checkpoint, whose tree must be the beginning of this one")
	types := flag.Bool("content-types", false, "hold the server to the content types of C2SP tlog-tiles")
	expect := flag.Bool("expect-fault", false, "the log is broken: succeed only if that is found")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: tlog [--older FILE] [--content-types] [--expect-fault] URL VKEY")
		os.Exit(2)
	}

	source := &source{base: strings.TrimSuffix(flag.Arg(0), "/"), types: *types}
	seen, err := judge(source, flag.Arg(1), *older)
	ok, seen := verdict(seen, err, *expect)
	line := struct {
		Client  string `json:"client"`
		Version string `json:"version"`
		OK      bool   `json:"ok"`
		Seen    string `json:"seen"`
		Size    int64  `json:"size"`
		Root    string `json:"root"`
	}{"go-sumdb-tlog", version("golang.org/x/mod"), ok, seen, source.tree.N, source.tree.Hash.String()}
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil || !ok {
		os.Exit(1)
	}
}

// A fault is something wrong with the log itself; any other error means that it could not be judged.
type fault struct{ what string }

func (f fault) Error() string { return f.what }

func faultf(format string, args ...any) error {
	return fault{fmt.Sprintf(format, args...)}
}

// verdict turns the outcome round when a fault is expected: only a fault will do then, not a log that cannot be reached.
func verdict(seen string, err error, expect bool) (bool, string) {
	switch {
	case err == nil && !expect:
		return true, seen
	case err == nil:
		return false, "no fault was found: " + seen
	case expect && errors.As(err, &fault{}):
		return true, "found: " + err.Error()
	default:
		return false, err.Error()
	}
}

// version is that of the module that this program was built with.
func version(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == path {
				return strings.TrimPrefix(module.Version, "v")
			}
		}
	}
	return "unknown"
}
