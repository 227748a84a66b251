// Command tessera judges a transparency log over HTTP with Tessera's fsck: it reads every entry bundle, derives the tree and
// all its tiles again, and compares them with the log's. It imports nothing of Marque.
//
// It prints one JSON line {"client", "version", "ok", "seen", "size", "root"} and exits 0 or 1 (2: usage).
//
//	tessera [--expect-fault] URL VKEY
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"
)

func main() {
	expect := flag.Bool("expect-fault", false, "the log is broken: succeed only if that is found")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: tessera [--expect-fault] URL VKEY")
		os.Exit(2)
	}
	klog.SetOutput(io.Discard)
	klog.LogToStderr(false)

	seen, tree, found, err := judge(flag.Arg(0), flag.Arg(1))
	ok := err == nil && found == *expect
	switch {
	case err != nil:
		seen = err.Error()
	case found:
		seen = "found: " + seen
	case *expect:
		seen = "no fault was found: " + seen
	}
	line := struct {
		Client  string `json:"client"`
		Version string `json:"version"`
		OK      bool   `json:"ok"`
		Seen    string `json:"seen"`
		head
	}{"tessera-fsck", version("github.com/transparency-dev/tessera"), ok, seen, tree}
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil || !ok {
		os.Exit(1)
	}
}

// head is the tree that the checkpoint names.
type head struct {
	Size uint64 `json:"size"`
	Root string `json:"root"`
}

// judge says what was seen and whether that is a fault of the log. An error means that the log could not be judged.
func judge(base, vkey string) (seen string, tree head, found bool, err error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return "", tree, false, err
	}
	root, err := url.Parse(base)
	if err != nil {
		return "", tree, false, err
	}
	fetcher, err := client.NewHTTPFetcher(root, nil)
	if err != nil {
		return "", tree, false, err
	}
	reader := &reader{from: fetcher}
	seen, found = check(reader, verifier)
	return seen, reader.head, found, reader.failure()
}

func check(reader *reader, verifier note.Verifier) (seen string, found bool) {
	// A bundle that is too short makes fsck panic.
	defer func() {
		if panicked := recover(); panicked != nil {
			seen, found = fmt.Sprintf("fsck stopped: %v", panicked), true
		}
	}()
	judge := fsck.New(verifier.Name(), verifier, reader, leaves, fsck.Opts{N: 2})
	if err := judge.Check(context.Background()); err != nil {
		return shorten(err.Error()), true
	}
	files := judge.Status().ResourcesFetched
	return fmt.Sprintf("%d entries in %d files: the tree and all tiles were derived again", reader.head.Size, files), false
}

// leaves gives the leaf hashes of a bundle (RFC 6962).
func leaves(bundle []byte) ([][]byte, error) {
	var entries api.EntryBundle
	if err := entries.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	hashes := make([][]byte, 0, len(entries.Entries))
	for _, entry := range entries.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}

// reader remembers the tree in the checkpoint, and that a file could not be fetched for another reason than its absence:
// that is no fault of the log.
type reader struct {
	from   fsck.Fetcher
	head   head
	mutex  sync.Mutex
	failed error
}

func (r *reader) ReadCheckpoint(ctx context.Context) ([]byte, error) {
	data, err := r.keep(r.from.ReadCheckpoint(ctx))
	if lines := strings.Split(string(data), "\n"); len(lines) > 2 {
		// Whether it is well written is for fsck to say.
		size, _ := strconv.ParseUint(lines[1], 10, 64)
		r.head = head{size, lines[2]}
	}
	return data, err
}

func (r *reader) ReadTile(ctx context.Context, level, index uint64, partial uint8) ([]byte, error) {
	return r.keep(r.from.ReadTile(ctx, level, index, partial))
}

func (r *reader) ReadEntryBundle(ctx context.Context, index uint64, partial uint8) ([]byte, error) {
	return r.keep(r.from.ReadEntryBundle(ctx, index, partial))
}

func (r *reader) keep(data []byte, err error) ([]byte, error) {
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.mutex.Lock()
		defer r.mutex.Unlock()
		r.failed = err
	}
	return data, err
}

func (r *reader) failure() error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.failed
}

// shorten keeps the hex of whole tiles out of the line.
func shorten(text string) string {
	if before, _, found := strings.Cut(text, ": log has:"); found {
		return before + " is not what the entries give"
	}
	return text
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
